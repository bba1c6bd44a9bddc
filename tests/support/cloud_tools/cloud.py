"""The state of one Google Cloud project and of the machine that sets it up; calls change it, or are refused."""

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.support.cloud_tools.arguments import Call, Refused, parse
from tests.support.cloud_tools.line import Forward, Gone

Json = dict[str, Any]


class Secrets(Protocol):
    """A Secret Manager."""

    def create(self, name: str) -> None: ...
    def add(self, name: str, value: str) -> int: ...
    def read(self, name: str) -> str: ...
    def names(self) -> list[str]: ...


@dataclass
class Cluster:
    """Kubernetes: what was applied, the secrets by (namespace, name), and the Helm releases by name."""

    reachable: bool = False
    objects: dict[tuple[str, str, str], Json] = field(default_factory=dict)
    secrets: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    releases: dict[str, Json] = field(default_factory=dict)


@dataclass
class Cloud:
    """All that commands have made so far."""

    secrets: Secrets
    project: str = ""
    accounts: set[str] = field(default_factory=set)  # who signed in: "user", "application"
    quota_project: str = ""
    apis: set[str] = field(default_factory=set)
    buckets: dict[str, Json] = field(default_factory=dict)
    databases: dict[str, Json] = field(default_factory=dict)  # instances: address and users with their passwords
    keys: dict[str, str] = field(default_factory=dict)  # key id → service account
    hmacs: dict[str, Json] = field(default_factory=dict)
    registries: set[str] = field(default_factory=set)  # hosts that docker may push to
    built: dict[str, str] = field(default_factory=dict)  # image → platform
    images: dict[str, str] = field(default_factory=dict)
    helm_repositories: dict[str, str] = field(default_factory=dict)
    cluster: Cluster = field(default_factory=Cluster)
    terraform: Json = field(default_factory=dict)  # backend, plan, and after `apply`: variables and outputs
    exclusions: list[str] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    pools: Callable[[], set[str]] = set  # work pools of the Prefect server
    restarted: Callable[[str], None] = lambda _: None
    serve: Callable[[str, Callable[[int], None], Gone], None] = lambda *_: None
    calls: list[Call] = field(default_factory=list)

    @property
    def region(self) -> str:
        return str(self.terraform.get("variables", {}).get("region", ""))

    def account(self, role: str) -> str:
        return f"millrace-{role}@{self.project}.iam.gserviceaccount.com"

    def needs_project(self) -> None:
        """Refuse what needs a project and who is signed in."""
        if "user" not in self.accounts:
            raise Refused("ERROR: (gcloud) You do not currently have an active account selected.")
        if not self.project:
            raise Refused("ERROR: (gcloud) The required property [project] is not currently set.")

    def needs_api(self, service: str) -> None:
        """Refuse a call of a service whose API is off."""
        self.needs_project()
        if f"{service}.googleapis.com" not in self.apis:
            raise Refused(
                f"ERROR: (gcloud) PERMISSION_DENIED: {service}.googleapis.com has not been used in project"
                f" {self.project} before or it is disabled."
            )


Tool = Callable[[Cloud, Call], str]
Forwarder = Callable[[Cloud, Call, Gone, Forward], str]


class Answers:
    """Takes calls one after the other, except those that stay: the thing that a `Line` asks."""

    def __init__(self, cloud: Cloud, tools: dict[str, Tool], forwarder: Forwarder) -> None:
        self._cloud, self._tools, self._forwarder, self._lock = cloud, tools, forwarder, threading.Lock()

    def __call__(self, request: Json, gone: Gone, forward: Forward) -> Json:
        """Return output and exit code of a call."""
        program = request["program"]
        try:
            call = parse(program, request["argv"])
            call.folder, call.stdin = Path(request["folder"]), request["stdin"]
            self._cloud.calls.append(call)
            if call.command == "kubectl port-forward":
                return _told(self._forwarder(self._cloud, call, gone, forward))
            with self._lock:
                return _told(self._tools[program](self._cloud, call))
        except Refused as refusal:
            return _told("", f"{refusal}\n", refusal.code)
        except Exception:  # a fault of the stand-in is shown where the page's reader would look
            return _told("", f"{program}: the stand-in failed\n{traceback.format_exc()}", 99)


def _told(out: str, err: str = "", code: int = 0) -> Json:
    return {"out": out, "err": err, "code": code}
