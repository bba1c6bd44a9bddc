"""A local Airbyte beside a Secret Manager and a Cloud Storage, and connectors whose reading a test writes itself."""

import io
import json
import sqlite3
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import grpc
import pyarrow as pa
import pyarrow.parquet as pq
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from millrace.airbyte.client import AirbyteClient
from millrace.airbyte.job import Job
from millrace.domain import names
from millrace.lake.store import Lake
from tests.support.servers import server, wait_until

PROJECT = "millrace-local"
CREDENTIALS = ("the-client", "its-secret")
SECRETS = {"airbyte-hmac-id": "id", "airbyte-hmac-secret": "hmac", "airport-ops-password": "right"}
IMAGE, OFFLINE = "test/source-scripted", "test/source-offline"
SCRIPTED = '''
import json, os, signal, subprocess, sys, time
verb, files = sys.argv[1], dict(zip(sys.argv[2::2], sys.argv[3::2]))
config, catalog, states = (json.load(open(files[n])) if n in files else None
                           for n in ("--config", "--catalog", "--state"))

def emit(kind, **body):
    print(json.dumps({"type": kind, **body}), flush=True)

def record(id, stream="orders", at=1_700_000_000_000, **data):
    emit("RECORD", record={"stream": stream, "data": {"id": id, **data}, "emitted_at": at})

def descriptor(stream):
    return {"stream_descriptor": {"name": stream}}

def state(position, stream="orders"):
    emit("STATE", state={"type": "STREAM", "stream": descriptor(stream) | {"stream_state": {"at": position}}})

def position(stream="orders"):
    """Where the state that was given says that reading stopped."""
    found = [s["stream"]["stream_state"]["at"] for s in states
             if s["type"] == "STREAM" and s["stream"]["stream_descriptor"]["name"] == stream]
    return found[0] if found else 0

def complete(stream="orders"):
    emit("TRACE", trace={"type": "STREAM_STATUS", "emitted_at": 1.5,
                         "stream_status": descriptor(stream) | {"status": "COMPLETE"}})

def error(message):
    emit("TRACE", trace={"type": "ERROR", "emitted_at": 1.5, "error": {"message": message}})

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def hang(ignore_sigterm=False):
    """Say who waits, then wait for ever."""
    if ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(config["folder"] + "/waiting", "a") as file:
        file.write(f"{os.getpid()}\\n")
    while True:
        signal.pause()

exec(config["code"].get(verb, ""))
if verb == "discover" and "discover" not in config["code"]:
    emit("CATALOG", catalog={"streams": [{"name": n, "json_schema": {"properties": p}}
                                         for n, p in config["streams"].items()]})
'''
ORDERS = {"orders": {"id": {"type": "integer"}}}


@dataclass
class ScriptedAirbyte:
    """One Airbyte, and what its tests do with it."""

    folder: Path
    port: int
    secrets_port: int
    client: AirbyteClient = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}/api/public/v1"
        self.client = AirbyteClient(self.url, *CREDENTIALS)

    def connect(self, lake: Lake, read: str = "complete()", **overrides: Any) -> str:
        """Create a connection whose connector runs the code `read`; return its id. `overrides` replace the defaults."""
        options = {
            "streams": ORDERS,
            "mode": "incremental_append",
            "discover": None,
            "config": {},
            "destination": {},
            "image": IMAGE,
        }
        options |= overrides
        name = f"scripted_{uuid.uuid4().hex[:8]}"
        code = {"read": read} | ({"discover": options["discover"]} if options["discover"] else {})
        folder = self.folder / name
        folder.mkdir()
        config = {"code": code, "streams": options["streams"], "folder": str(folder)} | options["config"]
        workspace = self.client.call("GET", "/workspaces")["data"][0]["workspaceId"]
        definition = {"name": options["image"], "dockerRepository": options["image"], "dockerImageTag": "1"}
        created = self.client.call("POST", f"/workspaces/{workspace}/definitions/sources", json=definition)
        source = self.client.call(
            "POST", "/sources", json={"name": name, "definitionId": created["id"], "configuration": config}
        )
        target = {
            "gcs_bucket_name": lake.url.removeprefix("gs://"),
            "format": {"format_type": "Parquet"},
            "gcs_path_format": "raw/${NAMESPACE}/${STREAM_NAME}/sync_id=${SYNC_ID}/",
        }
        destination = self.client.call(
            "POST", "/destinations", json={"name": name, "configuration": target | options["destination"]}
        )
        streams = [{"name": stream, "syncMode": options["mode"]} for stream in options["streams"]]
        connection = {
            "name": name,
            "sourceId": source["sourceId"],
            "destinationId": destination["destinationId"],
            "namespaceFormat": name,
            "configurations": {"streams": streams},
        }
        return str(self.client.call("POST", "/connections", json=connection)["connectionId"])

    def name(self, connection_id: str) -> str:
        return str(self.client.call("GET", f"/connections/{connection_id}")["name"])

    def rewrite(self, connection_id: str, read: str) -> None:
        """Let the connector run other code at its next read."""
        connection = self.client.call("GET", f"/connections/{connection_id}")
        source = self.client.call("GET", f"/sources/{connection['sourceId']}")
        config = source["configuration"] | {"code": source["configuration"]["code"] | {"read": read}}
        self.client.call("PATCH", f"/sources/{connection['sourceId']}", json={"configuration": config})

    def run(self, connection_id: str) -> Job:
        """Sync to the end; returns the job."""
        return self.ended(self.client.start_job(connection_id))

    def ended(self, job_id: int) -> Job:
        wait_until(lambda: self.client.job(job_id).ended, f"job {job_id} ends", 60)
        return self.client.job(job_id)

    def waiting(self, connection_id: str) -> list[int]:
        """Process ids of the connection's connectors that said they hang; waits for one."""
        file = self.folder / self.name(connection_id) / "waiting"
        wait_until(
            lambda: file.exists() and file.read_text().endswith("\n"), f"{file} has the line of a hanging connector"
        )
        return [int(line) for line in file.read_text().split()]

    def log(self, job_id: int) -> str:
        return (self.folder / "airbyte" / "logs" / f"job-{job_id}.log").read_text()

    def set_secret(self, name: str, value: str) -> str:
        """Add a version; returns its full name."""
        secret = f"projects/{PROJECT}/secrets/{name}"
        with secret_manager(self.secrets_port) as manager:
            return str(manager.add_secret_version(parent=secret, payload={"data": value.encode()}).name)


@contextmanager
def secret_manager(port: int) -> Iterator[SecretManagerServiceClient]:
    """A client of the Secret Manager at a port."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))


@contextmanager
def secrets_server(folder: Path) -> Iterator[int]:
    """A Secret Manager that holds what source and destination refer to; gives its port."""
    with server("secrets", folder / "secrets") as port:
        with secret_manager(port) as manager:
            for name, value in SECRETS.items():
                secret = {"replication": {"automatic": {}}}
                manager.create_secret(parent=f"projects/{PROJECT}", secret_id=name, secret=secret)
                parent = f"projects/{PROJECT}/secrets/{name}"
                manager.add_secret_version(parent=parent, payload={"data": value.encode()})
        yield port


def airbyte_command(folder: Path, storage_port: int, secrets_port: int) -> tuple[list[str], dict[str, str]]:
    """Return options and environment of an Airbyte with the scripted connector."""
    script, connectors = folder / "scripted.py", folder / "connectors.json"
    script.write_text(SCRIPTED)
    command = [sys.executable, "-I", "-S", str(script)]
    connectors.write_text(json.dumps({IMAGE: command, OFFLINE: {"command": command, "network": False}}))
    storage = f"http://127.0.0.1:{storage_port}"
    options = [
        "--storage",
        storage,
        "--bucket",
        "no-such-bucket",
        "--secrets",
        f"127.0.0.1:{secrets_port}",
        "--project",
        PROJECT,
        "--connectors",
        str(connectors),
    ]
    client_id, secret = CREDENTIALS
    return options, {
        "MILLRACE_AIRBYTE_CLIENT_ID": client_id,
        "MILLRACE_AIRBYTE_CLIENT_SECRET": secret,
        "AIRPORT_OPS_DATABASE": str(folder / "airport_ops.sqlite"),
    }


@contextmanager
def airbyte_server(folder: Path, storage_port: int, secrets_port: int, *arguments: str) -> Iterator[int]:
    """A running Airbyte; gives its port."""
    options, environment = airbyte_command(folder, storage_port, secrets_port)
    with server("airbyte", folder / "airbyte", *options, *arguments, env=environment) as port:
        yield port


@contextmanager
def scripted_airbyte(folder: Path, storage_port: int) -> Iterator[ScriptedAirbyte]:
    """A running Airbyte with its Secret Manager."""
    with (
        secrets_server(folder) as secrets_port,
        airbyte_server(folder, storage_port, secrets_port) as port,
    ):
        scripted = ScriptedAirbyte(folder, port, secrets_port)
        with scripted.client:
            yield scripted


def files(lake: Lake, namespace: str, stream: str = "orders") -> list[str]:
    """Objects of a stream, over all its syncs."""
    return sorted(info.name for info in lake.list(names.raw_prefix(namespace, stream)))


def table(lake: Lake, name: str) -> pa.Table:
    return pq.read_table(pa.BufferReader(lake.read(name)))


def rows(lake: Lake, namespace: str, stream: str = "orders") -> list[dict[str, Any]]:
    """Rows of a stream, over all its syncs."""
    return [row for name in files(lake, namespace, stream) for row in _rows(name, lake.read(name))]


def _rows(name: str, data: bytes) -> list[dict[str, Any]]:
    if ".avro" in name:
        return [dict(row) for row in fastavro.reader(io.BytesIO(data))]  # type: ignore[call-overload]
    return list(pq.read_table(pa.BufferReader(data)).to_pylist())


def ids(lake: Lake, namespace: str, stream: str = "orders") -> list[int]:
    return sorted(row["id"] for row in rows(lake, namespace, stream))


def query(database: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of the operations database."""
    with closing(sqlite3.connect(database)) as db:
        return db.execute(sql, values).fetchall()
