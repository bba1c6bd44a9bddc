"""The same way without an orchestrator: sync → manifest → merge → dbt → Great Expectations → publish, as a script.

`python -m bench.bare --days 7 --state DIR`: the rest of a day's time without coordination, retries and logs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from beam_job.batches import Limits
from beam_job.merge import merge_stream
from bench.model_run import run_model
from local.demo.airport_ops.check import compare
from local.demo.airport_ops.replay import advance, create
from local.servers.airbyte.destination import StreamWriter
from millrace.contracts.source import load_sources
from millrace.domain import names
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.lake.footers import count_rows
from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.project import current_project
from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.engines import open_warehouse
from tests.support.servers import server

ROOT = Path(__file__).resolve().parents[1]
PATHS = {"gcs_path_format": "raw/${NAMESPACE}/${STREAM_NAME}/sync_id=${SYNC_ID}/"}
BUCKET = "millrace-bare"


def sync(lake: Lake, state: Path, job_id: int, positions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read new records into the lake; return the new positions."""
    connector = [sys.executable, "-m", "local.demo.airport_ops.connector"]
    environment = os.environ | {"AIRPORT_OPS_DATABASE": str(state / "source.sqlite")}
    with tempfile.TemporaryDirectory() as folder:
        config = _file(folder, "config", {"database": "airport_ops", "username": "millrace", "password": "bare"})
        completed = subprocess.run(
            [*connector, "discover", "--config", config], env=environment, capture_output=True, check=True
        )
        streams = json.loads(completed.stdout)["catalog"]["streams"]
        catalog = _file(folder, "catalog", {"streams": [{"stream": s, "sync_mode": "incremental"} for s in streams]})
        command = [
            *connector,
            "read",
            "--config",
            config,
            "--catalog",
            catalog,
            "--state",
            _file(folder, "s", positions),
        ]

        def upload(name: str, data: bytes, _: dict[str, str]) -> None:
            lake.write(name, data)

        writers = {s["name"]: StreamWriter(s, "airport_ops", job_id, PATHS, 0, upload) for s in streams}
        newest: dict[str, dict[str, Any]] = {}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            for line in process.stdout or ():
                message = json.loads(line)
                if message["type"] == "RECORD":
                    record = message["record"]
                    writers[record["stream"]].add(record["data"], record["emitted_at"])
                elif message["type"] == "STATE":
                    newest[message["state"]["stream"]["stream_descriptor"]["name"]] = message["state"]
        for writer in writers.values():
            writer.flush()
    return list(newest.values())


def _file(folder: str, name: str, body: Any) -> str:
    path = Path(folder) / f"{name}.json"
    path.write_text(json.dumps(body))
    return str(path)


def land(lake: Lake, source: str, stream: str, job_id: int) -> None:
    """Write one stream's manifest."""
    infos = list(lake.list(names.sync_prefix(source, stream, job_id)))
    if not infos:
        return
    now = datetime.now(UTC)
    objects = tuple(
        LandedObject(name=i.name, generation=i.generation, size=i.size, rows=count_rows(lake, i.name)) for i in infos
    )
    manifest = LandingManifest(
        source=source,
        stream=stream,
        connection_id="bare",
        job_id=job_id,
        job_created_at=now,
        outcome="succeeded",
        sync_mode="cdc",
        objects=objects,
        landed_at=now,
    )
    lake.create(names.manifest_path(source, stream, now, "bare", job_id), manifest.model_dump_json().encode())


def run(days: int, state: Path, endpoint: str) -> list[float]:
    """All days; returns the seconds of each."""
    client = storage.Client("bare", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint})
    client.bucket(BUCKET).create()
    lake = open_lake(f"gs://{BUCKET}", endpoint)
    warehouse = open_warehouse(
        WarehouseSettings(url=f"duckdb:///{state}/warehouse.duckdb", marts_url=f"duckdb:///{state}/published.duckdb")
    )
    source = load_sources(current_project().sources)["airport_ops"]
    create(state / "source.sqlite", "bare")
    positions: list[dict[str, Any]] = []
    seconds = []
    for day in range(1, days + 1):
        began = time.monotonic()
        advance(state / "source.sqlite", day)
        positions = sync(lake, state, day, positions)
        for contract in source.streams.values():
            land(lake, source.source, contract.stream, day)
            warehouse.ensure(contract)
            merge_stream(
                lake, warehouse, None, contract, limits=Limits(), run_id="bare", clock=lambda: datetime.now(UTC)
            )
        run_model(warehouse, state)
        seconds.append(time.monotonic() - began)
        print(f"day {day}: {seconds[-1]:.1f} s", flush=True)
    return seconds


def main() -> int:
    """Run the days, check the marts."""
    parser = argparse.ArgumentParser(prog="python -m bench.bare", description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--state", type=Path, required=True, help="empty directory")
    options = parser.parse_args()
    state = options.state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    with server("storage", state / "storage") as port:
        seconds = run(options.days, state, f"http://127.0.0.1:{port}")
    outcome = compare(state / "published.duckdb", options.days)
    print(f"{options.days} days in {sum(seconds):.1f} s; {outcome}")
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main())
