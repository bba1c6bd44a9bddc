"""A project as Google's APIs of projects, accounts and policies describe it, on ports of this machine.

Storage, Pub/Sub and Secret Manager are the local servers, with a front that has policies and fails as a test says.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.cloud.secretmanager_v1.types import Secret
from google.iam.v1 import iam_policy_pb2, policy_pb2

from local.servers.identity.tokens import identity_of, service_account
from tests.cloud.expected import Expected
from tests.cloud.target import Target
from tests.support.bigquery import emulator
from tests.support.google_api import Call, Json
from tests.support.google_front import Front, RpcRefusal, error, grpc_front, http_front
from tests.support.servers import server

NUMBER = "123456789012"
CALLER = "engineer@example.com"
IAM = re.compile(r"/v[13]/(projects/.+):(getIamPolicy|testIamPermissions)")
ACCOUNT = re.compile(r"/v1/projects/[^/]+/serviceAccounts/([^/:]+)(/keys)?")
DATASET = re.compile(r"/bigquery/v2/projects/[^/]+/datasets(?:/([^/]+))?")
BUCKET_POLICY = re.compile(r"/storage/v1/b/([^/]+)/iam")
Policy = dict[tuple[str, str, str], list[str]]  # members by kind, name and role


@dataclass
class GoogleProject:
    """The state that tests change; `fails` are errors by a part of the address or method, as status and reason."""

    project: str
    emulated: bool = False
    number: str = NUMBER
    state: str = "ACTIVE"
    billing: bool = True
    services: set[str] = field(default_factory=set)
    accounts: dict[str, Json] = field(default_factory=dict)
    keys: dict[str, list[Json]] = field(default_factory=dict)
    grants: list[Any] = field(default_factory=list)
    lacks: set[str] = field(default_factory=set)
    datasets: dict[str, Json] = field(default_factory=dict)
    secrets: dict[str, Json] = field(default_factory=dict)
    quotas: dict[str, tuple[float, float]] = field(default_factory=dict)
    jobs: dict[str, Json] = field(default_factory=dict)
    fails: dict[str, tuple[int | str, str]] = field(default_factory=dict)

    def deploy(self, expected: Expected) -> None:
        """Have all that Terraform makes, as far as no local server keeps it."""
        host = f"{self.project}.iam.gserviceaccount.com"
        self.services |= set(expected.names("services"))
        self.accounts |= {f"{name}@{host}": {} for name in expected.names("serviceAccounts")}
        self.grants += expected.grants
        self.quotas |= {"CPUS": (72, 2), "IN_USE_ADDRESSES": (8, 0), "SSD_TOTAL_GB": (500, 10)}
        self.secrets |= expected.resources["secrets"]
        for name, values in expected.resources["datasets"].items():
            own = {"location": values["location"], "maxTimeTravelHours": "168", "labels": {}}
            if values.get("default_table_expiration_ms"):
                own["defaultTableExpirationMs"] = str(values["default_table_expiration_ms"])
            self.datasets[name] = {"datasetReference": {"datasetId": name, "projectId": self.project}} | own

    def bindings(self, kind: str, name: str) -> list[Json]:
        """Return the policy of a resource."""
        members_of: dict[tuple[str, str], list[str]] = {}
        for grant in self.grants:
            if (grant.kind, grant.name) == (kind, name):
                members_of.setdefault((grant.role, grant.condition), []).append(grant.member)
        return [
            {"role": role, "members": members} | ({"condition": {"expression": condition}} if condition else {})
            for (role, condition), members in members_of.items()
        ]

    def failure(self, place: str) -> tuple[int | str, str] | None:
        """Return the error that a call is answered with, if any."""
        return next((status for part, status in self.fails.items() if part in place), None)

    def answer(self, call: Call) -> tuple[int, Json] | None:
        """Return the answer to a REST call; None hands it on."""
        if failed := self.failure(f"{call.method} {call.path}"):
            return int(failed[0]), error(int(failed[0]), failed[1], f"{failed[1]}: the test says so")
        service, _, path = call.path.lstrip("/").partition("/")
        if call.path.startswith("/storage/"):
            match = BUCKET_POLICY.fullmatch(call.path)
            return (200, {"bindings": self.bindings("buckets", match[1])}) if match else None
        if call.path.startswith("/bigquery/v2/") and not self.emulated:
            return self._bigquery(call)
        if call.path.startswith("/v1b3/"):
            return self._dataflow(call)
        return self._api(service, f"/{path}", call)

    def _api(self, service: str, path: str, call: Call) -> tuple[int, Json] | None:
        if service == "oauth2":
            return 200, {"access_token": "local", "expires_in": 3600, "token_type": "Bearer"} if path == "/token" else {
                "email": CALLER,
                "scope": "https://www.googleapis.com/auth/cloud-platform",
            }
        if match := IAM.fullmatch(path):
            if match[2] == "testIamPermissions":
                return 200, {"permissions": [p for p in call.body["permissions"] if p not in self.lacks]}
            kind, name = match[1].split("/")[-2:]
            return 200, {"bindings": self.bindings(kind, name)}
        if match := ACCOUNT.fullmatch(path):
            if match[1] not in self.accounts:
                return 404, error(404, "notFound", f"Unknown service account {match[1]}")
            return 200, {"keys": self.keys.get(match[1], [])} if match[2] else self.accounts[match[1]]
        if path.endswith("services:batchGet"):
            on = [{"name": n, "state": "ENABLED"} for n in call.query["names"] if n.split("/")[-1] in self.services]
            return 200, {"services": on}
        if service == "cloudbilling":
            return 200, {"billingEnabled": self.billing}
        if service == "compute":
            return 200, {"quotas": [{"metric": m, "limit": q[0], "usage": q[1]} for m, q in self.quotas.items()]}
        if service == "cloudresourcemanager" and path == f"/v3/projects/{self.project}":
            return 200, {"name": f"projects/{self.number}", "projectId": self.project, "state": self.state}
        return None

    def _bigquery(self, call: Call) -> tuple[int, Json] | None:
        match = DATASET.fullmatch(call.path)
        if not match:
            return None
        if match[1] is None and call.method == "POST":
            self.datasets[call.body["datasetReference"]["datasetId"]] = call.body
            return 200, call.body
        if match[1] is None:
            return 200, {"datasets": list(self.datasets.values())}
        if match[1] not in self.datasets:
            return 404, error(404, "notFound", f"Not found: Dataset {self.project}:{match[1]}")
        if call.method == "DELETE":
            del self.datasets[match[1]]
            return 204, {}
        return 200, self.datasets[match[1]] | {"access": list(self._access(match[1]))}

    def _access(self, name: str) -> Iterator[Json]:
        short = {"dataViewer": "READER", "dataEditor": "WRITER", "dataOwner": "OWNER"}
        yield {"role": "OWNER", "specialGroup": "projectOwners"}
        for grant in self.grants:
            if (grant.kind, grant.name) == ("datasets", name):
                kind, _, member = grant.member.partition(":")
                field_ = "groupByEmail" if kind == "group" else "userByEmail"
                yield {"role": short.get(grant.role.rpartition(".")[2], grant.role), field_: member}

    def _dataflow(self, call: Call) -> tuple[int, Json]:
        last = call.path.rpartition("/")[2]
        if call.method == "PUT":
            self.jobs[last]["currentState"] = "JOB_STATE_CANCELLED"
            return 200, self.jobs[last]
        return 200, {"jobs": [job for job in self.jobs.values() if job["currentState"] == "JOB_STATE_RUNNING"]}

    def rpc(self, method: str, request: bytes) -> bytes | None:
        """Return the answer to a gRPC call; None hands it on."""
        if failed := self.failure(method):
            raise RpcRefusal(str(failed[0]), f"{failed[1]}: the test says so")
        if method.endswith("/GetIamPolicy"):
            resource = iam_policy_pb2.GetIamPolicyRequest.FromString(request).resource
            kind, name = resource.split("/")[-2:]
            bindings = [policy_pb2.Binding(role=b["role"], members=b["members"]) for b in self.bindings(kind, name)]
            return bytes(policy_pb2.Policy(bindings=bindings).SerializeToString())
        if method.endswith("/GetSecret"):
            name = request[2:].decode()
            own = self.secrets.get(name.rpartition("/")[2])
            return self._secret(name, own) if own else None
        return None

    @staticmethod
    def _secret(name: str, own: Json) -> bytes:
        period = int(own["rotation"][0]["rotation_period"].removesuffix("s")) if own.get("rotation") else 0
        secret = Secret.pb()(name=name)
        for topic in own.get("topics", []):
            secret.topics.add().name = topic["name"]
        if period:
            secret.rotation.rotation_period.FromSeconds(period)
        return bytes(secret.SerializeToString())


@dataclass
class Cloud:
    """A project with its servers: the target that the kit is given, and the calls that came."""

    google: GoogleProject
    target: Target
    credentials: Path
    fronts: dict[str, Front]

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables with which the kit works on these servers."""
        return self.target.environment() | {"GOOGLE_APPLICATION_CREDENTIALS": str(self.credentials)}

    @property
    def calls(self) -> list[str]:
        """Return all calls that came."""
        return [call for front in self.fronts.values() for call in front.calls]

    def forget_calls(self) -> None:
        """Forget the calls that came so far."""
        for front in self.fronts.values():
            front.calls.clear()


@contextmanager
def cloud(folder: Path, project: str = "shop-prod", *, emulated: bool = False) -> Iterator[Cloud]:
    """Servers of a project; `emulated` says whether BigQuery is the emulator, or has datasets only."""
    google, fronts = GoogleProject(project, emulated=emulated), dict[str, Front]()
    with ExitStack() as stack:
        identity = folder / "identity"
        stack.enter_context(server("identity", identity, "--project", project))
        pubsub = stack.enter_context(server("pubsub", folder / "pubsub", "--identity", str(identity)))
        fronts["pubsub"] = stack.enter_context(grpc_front(google.rpc, f"127.0.0.1:{pubsub}"))
        options = ("--pubsub", fronts["pubsub"].address)
        storage = stack.enter_context(server("storage", folder / "storage", *options))
        secrets = stack.enter_context(server("secrets", folder / "secrets"))
        fronts["secretmanager"] = stack.enter_context(grpc_front(google.rpc, f"127.0.0.1:{secrets}"))
        fronts["storage"] = stack.enter_context(http_front(google.answer, f"http://127.0.0.1:{storage}"))
        address = ""
        if emulated:
            address = stack.enter_context(emulator(folder / "bigquery", f"http://127.0.0.1:{storage}")).endpoint
        for name in ("bigquery", "dataflow", "apis"):
            fronts[name] = stack.enter_context(http_front(google.answer, address if name == "bigquery" else ""))
        endpoints = {name: front.address for name, front in fronts.items()}
        target = Target(project, "EU", "europe-west1", endpoints)
        key = folder / "key.json"
        account = service_account(identity_of(identity), project, f"{target.base('oauth2')}/token")
        key.write_text(json.dumps(account))
        yield Cloud(google, target, key, fronts)
