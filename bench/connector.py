"""Measures how fast a connector's rows reach the lake, and the connector alone: `python -m bench.connector [--record]`.

The demo's SQLite source is read in full, in turn: without a destination, and by the local Airbyte into Parquet in the
local Cloud Storage. Each job starts from no state. `--record` writes the table into docs/benchmarks.md.
"""

import argparse
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from bench.page import record
from local.demo.airport_ops.connector import discover
from local.demo.airport_ops.replay import advance, create
from millrace.airbyte.client import AirbyteClient
from millrace.airbyte.connections import Connections
from millrace.contracts.source import load_sources
from millrace.project import CODE, current_project
from tests.support.servers import server

GOAL = 10_000
DAYS = 7
PASSWORD = "bench"
CREDENTIALS = ("bench-client", "bench-secret")
BUCKET = "bench-lake"
COPY = """
INSERT INTO flights SELECT date(flight_date, :days), {columns} FROM flights WHERE flight_date < :before
"""


def make_database(file: Path, rows: int) -> int:
    """The demo's database with at least so many flights: those of a week, again and again under other dates."""
    create(file, PASSWORD)
    advance(file, DAYS)
    with closing(sqlite3.connect(file)) as db, db:
        columns = [name for (_, name, *_) in db.execute("PRAGMA table_info(flights)") if name != "flight_date"]
        (row_count,), (before,) = (
            db.execute(f"SELECT {aggregate} FROM flights").fetchone() for aggregate in ("count(*)", "max(flight_date)")
        )
        for copy in range(1, rows // row_count + 1):
            days = {"days": f"+{400 * copy} days", "before": f"{before}~"}
            db.execute(COPY.format(columns=", ".join(columns)), days)
        return int(db.execute("SELECT count(*) FROM flights").fetchone()[0])


def bare(file: Path, folder: Path) -> float:
    """Return the seconds of the connector alone, with its output discarded."""
    (folder / "config.json").write_text(
        json.dumps({"database": str(file), "username": "millrace", "password": PASSWORD})
    )
    flights = next(stream for stream in discover()["streams"] if stream["name"] == "flights")
    (folder / "catalog.json").write_text(json.dumps({"streams": [{"stream": flights, "sync_mode": "full_refresh"}]}))
    command = [
        sys.executable,
        "-m",
        "local.demo.airport_ops.connector",
        "read",
        "--config",
        str(folder / "config.json"),
        "--catalog",
        str(folder / "catalog.json"),
    ]
    began = time.perf_counter()
    subprocess.run(command, cwd=CODE, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


@contextmanager
def airbyte(folder: Path) -> Iterator[AirbyteClient]:
    """A local Airbyte over a local Cloud Storage."""
    with server("storage", folder / "storage") as storage_port:
        endpoint = {"api_endpoint": f"http://127.0.0.1:{storage_port}"}
        storage.Client("bench", credentials=AnonymousCredentials(), client_options=endpoint).bucket(BUCKET).create()
        options = ("--storage", endpoint["api_endpoint"], "--bucket", BUCKET, "--secrets", "127.0.0.1:1")
        named = {"MILLRACE_AIRBYTE_CLIENT_ID": CREDENTIALS[0], "MILLRACE_AIRBYTE_CLIENT_SECRET": CREDENTIALS[1]}
        with (
            server("airbyte", folder / "airbyte", *options, env=named) as port,
            AirbyteClient(f"http://127.0.0.1:{port}/api/public/v1", *CREDENTIALS) as client,
        ):
            yield client


def synced(client: AirbyteClient, file: Path, rows: int) -> float:
    """Seconds of a job of a new connection, from its start until Airbyte says that it succeeded."""
    demo = load_sources(current_project().sources)["airport_ops"]
    config = {"database": str(file), "username": "millrace", "password": PASSWORD}
    source = demo.model_copy(
        update={
            "source": f"bench_{uuid.uuid4().hex[:8]}",
            "streams": {"flights": demo.streams["flights"]},
            "connector": demo.connector.model_copy(update={"config": config}),
        }
    )
    connections = Connections(client, f"gs://{BUCKET}", lambda name: name)
    connections.apply(connections.plan([source]), [source])
    connection = client.connection(source.source)["connectionId"]
    began = time.perf_counter()
    job = client.start_job(connection)
    while not client.job(job).ended:
        time.sleep(0.05)  # Airbyte's API is asked, as the platform does
    took, ended = time.perf_counter() - began, client.job(job)
    if (ended.status, ended.rows) != ("succeeded", rows):
        raise SystemExit(f"the job did not land the {rows:,} rows: {ended}")
    return took


def report(rows: int, alone: list[float], landed: list[float]) -> str:
    """The measurement as the documentation has it."""
    bare_s, landed_s = statistics.median(alone), statistics.median(landed)
    met = "met" if rows / landed_s >= GOAL else "**not met**"
    return (
        f"`make bench-connector` on {date.today()}; {os.cpu_count()} cores, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()}; medians of {len(alone)} interleaved runs.\n\n"
        f"| {rows:,} flights, read in full | s | rows/s |\n|---|---|---|\n"
        f"| the bare connector, its output thrown away | {bare_s:.1f} | {rows / bare_s:,.0f} |\n"
        f"| connector → Airbyte → Parquet in the lake | {landed_s:.1f} | {rows / landed_s:,.0f} |\n\n"
        f"- At least {GOAL:,} rows/s into the lake: {met}\n"
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.connector", description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="write the table into docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-connector-") as directory:
        folder = Path(directory)
        rows = make_database(folder / "airport_ops.sqlite", options.rows)
        alone, landed = [], []
        with airbyte(folder) as client:
            for _ in range(options.repeat):
                alone.append(bare(folder / "airport_ops.sqlite", folder))
                landed.append(synced(client, folder / "airport_ops.sqlite", rows))
    text = report(rows, alone, landed)
    print(text)
    if options.record:
        record("connector", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
