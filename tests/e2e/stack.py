"""The whole stack for tests: starts flows, presses Retry, breaks and repairs its parts, reads its messages."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from local.demo.day import Platform
from local.demo.prefect import RetryUnavailable, Run
from local.demo.run import open_platform
from local.stack.credentials import load_credentials
from local.stack.environment import platform_settings, process_environment
from local.stack.local_stack import PROJECT, LocalStack, load_stack
from local.stack.ports import PREFERRED_PORTS
from local.stack.supervisor import runs_ours
from millrace.airbyte.client import AirbyteClient
from tests.support.servers import ROOT, free_port, wait_until

PATIENCE_S = 120


def local(state: Path, *arguments: str, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `python -m local` as a person would; return its output."""
    command = [sys.executable, "-m", "local", "--state", str(state), *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **(env or {})}, capture_output=True, text=True)


def new_state(directory: Path) -> Path:
    """Make a state directory; its ports differ from those that other tests or Prefect's harness prefer."""
    directory.mkdir(exist_ok=True)
    (directory / "ports.json").write_text(json.dumps({service: free_port() for service in PREFERRED_PORTS}))
    return directory


def processes_of(state: Path) -> list[str]:
    """Command lines of all processes, flow runs included, that have to do with a state."""
    lines = []
    for process in psutil.process_iter(["cmdline", "pid"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(state) in line and process.info["pid"] != os.getpid():
            lines.append(line)
    return lines


@contextmanager
def folder_in_place_of(file: Path) -> Iterator[None]:
    """A file can't be opened: a folder stands in its place."""
    aside = file.with_suffix(".aside")
    file.rename(aside)
    file.mkdir()
    try:
        yield
    finally:
        file.rmdir()
        aside.rename(file)


@dataclass
class Stack:
    """A stack that is up."""

    state: Path

    def __post_init__(self) -> None:
        self.local: LocalStack = load_stack(self.state)
        self.platform: Platform = open_platform(self.local)
        self.http = httpx.Client(
            base_url=self.local.prefect_api, timeout=60, transport=RetryUnavailable(httpx.HTTPTransport())
        )

    def start(self, deployment: str, **parameters: Any) -> str:
        return self.platform.api.start(deployment, parameters)

    def run(self, deployment: str, **parameters: Any) -> Run:
        """Start a deployment and wait for its end."""
        return self.ended(self.start(deployment, **parameters))

    def retry(self, run_id: str) -> Run:
        """Press Retry, as the UI does, and wait for the end."""
        before = self.http.get(f"/flow_runs/{run_id}").raise_for_status().json()["run_count"]
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the Prefect UI"}
        answer = self.http.post(f"/flow_runs/{run_id}/set_state", json={"state": state}).raise_for_status().json()
        assert answer["status"] == "ACCEPT", answer
        wait_until(lambda: self._run(run_id)["run_count"] > before, f"run {run_id} starts again", PATIENCE_S)
        return self.ended(run_id)

    def ended(self, run_id: str) -> Run:
        wait_until(lambda: not self.find(run_id).active, f"run {run_id} ends", PATIENCE_S)
        return self.find(run_id)

    def find(self, run_id: str) -> Run:
        return self.platform.api.run(run_id)

    def _run(self, run_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/flow_runs/{run_id}").raise_for_status().json())

    def tasks(self, run_id: str) -> dict[str, list[str]]:
        """Names of a run's own tasks, by the name of their state, in order."""
        query = {"flow_runs": {"id": {"any_": [run_id]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": 200}
        task_runs = self.http.post("/task_runs/filter", json=query).raise_for_status().json()
        by_state: dict[str, list[str]] = {}
        for task in (t for t in task_runs if not t["task_key"].startswith("execute_dbt_node")):
            by_state.setdefault(task["state_name"], []).append(task["task_key"].rsplit(".", 1)[-1].split("-")[0])
        return by_state

    def messages(self, since: datetime) -> list[str]:
        """Return the messages that were posted to Slack since an instant."""
        inbox = httpx.get(f"{self.local.http('slack')}/messages.json", timeout=30).raise_for_status().json()
        return [m["text"] for m in inbox if datetime.fromisoformat(m["at"]) >= since]

    def wait_for_message(self, *words: str, since: datetime) -> str:
        """The first Slack message that has all the words."""

        def found() -> list[str]:
            return [text for text in self.messages(since) if all(word in text for word in words)]

        wait_until(found, f"a Slack message with {words}", PATIENCE_S)
        return found()[0]

    @contextmanager
    def by_hand(self) -> Iterator[None]:
        """Let no event start a flow meanwhile, so that a test alone decides what runs."""
        self._enable_triggers(on=False)
        try:
            yield
        finally:
            self._enable_triggers(on=True)

    def _enable_triggers(self, *, on: bool) -> None:
        automations = self.http.post("/automations/filter", json={}).raise_for_status().json()
        triggers = [a["id"] for a in automations if any(x["type"] == "run-deployment" for x in a["actions"])]
        assert len(triggers) >= 3, automations
        for automation in triggers:
            self.http.patch(f"/automations/{automation}", json={"enabled": on}).raise_for_status()

    @contextmanager
    def secret_disabled(self, name: str) -> Iterator[None]:
        """Disable the newest version of a secret meanwhile."""
        channel = grpc.insecure_channel(self.local.grpc("secrets"))
        client = SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))
        secret = f"projects/{PROJECT}/secrets/{name}"
        newest = client.get_secret_version(name=f"{secret}/versions/latest").name
        client.disable_secret_version(name=newest)
        try:
            yield
        finally:
            client.enable_secret_version(name=newest)
            channel.close()

    @contextmanager
    def secret_value(self, name: str, value: str) -> Iterator[None]:
        """Give a secret another value meanwhile."""
        channel = grpc.insecure_channel(self.local.grpc("secrets"))
        client = SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))
        secret = f"projects/{PROJECT}/secrets/{name}"
        before = client.access_secret_version(name=f"{secret}/versions/latest").payload.data
        client.add_secret_version(parent=secret, payload={"data": value.encode()})
        try:
            yield
        finally:
            client.add_secret_version(parent=secret, payload={"data": before})
            channel.close()

    def airbyte(self) -> AirbyteClient:
        """A client of Airbyte."""
        secrets = load_credentials(self.local)
        url = platform_settings(self.local)["MILLRACE_AIRBYTE__URL"]
        return AirbyteClient(url, secrets["airbyte-client-id"], secrets["airbyte-client-secret"])

    def administer(self, *arguments: str, **settings: str) -> str:
        """Run `millrace …` with settings of the stack changed; return its output."""
        completed = subprocess.run(
            [sys.executable, "-m", "cli", "--environment", "local", *arguments],
            cwd=ROOT,
            env=process_environment(self.local) | settings,
            capture_output=True,
            text=True,
        )
        assert completed.returncode == 0, completed.stdout + completed.stderr
        return completed.stdout

    def pids(self) -> dict[str, int]:
        return dict(json.loads((self.state / "pids.json").read_text()))

    def kill(self, service: str) -> int:
        """SIGKILL one part; returns its process id."""
        pid = self.pids()[service]
        assert runs_ours(pid)
        os.kill(pid, signal.SIGKILL)
        return pid


def now() -> datetime:
    return datetime.now(UTC)
