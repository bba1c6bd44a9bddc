"""Measures PostgreSQL → lake beside dlt: `python -m bench.postgres_lake [--record]`.

One table of a PostgreSQL of its own is read in full, in turn: by our connector and the local Airbyte into Parquet in
the local Cloud Storage, and by dlt into Parquet in a folder, with each of its fast readers. Each run starts from
nothing.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from bench.connector import BUCKET, airbyte
from bench.merge.environment import NotInstalled, make
from bench.page import record
from millrace.airbyte.client import AirbyteClient
from millrace.airbyte.connections import Connections
from millrace.contracts.source import parse_source
from millrace.project import CODE
from tests.support.pg_source import logical_postgres
from tests.support.postgres import Postgres

GOAL = 50_000
DLT_EXTRAS = ("dlt[sql_database,parquet]", "psycopg2-binary", "connectorx")
TABLE = """
CREATE TABLE orders AS SELECT g AS id, g % 100000 + 1 AS customer_id, round((g * 1.0001)::numeric, 4)::numeric(18,4) AS
  total, (ARRAY['new','paid','sent'])[g % 3 + 1] AS status, timestamp '2024-01-01' + g * interval '1 second' AS
  ordered_at, CASE WHEN g % 5 = 0 THEN NULL ELSE 'a note of order ' || g END AS note, g % 2 = 0 AS gift,
  md5(g::text)::uuid AS token, timestamptz '2024-01-01 00:00Z' + g * interval '1 second' AS updated_at
FROM generate_series(1, {rows}) g;
ALTER TABLE orders ADD PRIMARY KEY (id); ANALYZE orders
"""
CONTRACT = """
source: {name}
connector:
  image: airbyte/source-postgres
  version: "1"
  config: {{host: 127.0.0.1, port: {port}, database: postgres, username: prefect}}
streams: {{orders: {{mode: overwrite, key: [id], columns: {{id: {{type: int64, nullable: false}}}}}}}}
"""
DLT = """
import sys, dlt
from dlt.sources.sql_database import sql_table
url, backend, folder = sys.argv[1:]
table = sql_table(url, table="orders", backend=backend, chunk_size=100_000)
pipeline = dlt.pipeline("bench", pipelines_dir=folder, dataset_name="lake",
                        destination=dlt.destinations.filesystem("file://" + folder))
pipeline.run(table, loader_file_format="parquet", write_disposition="replace").raise_on_failed_jobs()
"""


def ours(client: AirbyteClient, server: Postgres, rows: int) -> float:
    """Return the seconds of one job of a new connection."""
    name = f"bench_{uuid.uuid4().hex[:8]}"
    source = parse_source(CONTRACT.format(name=name, port=server.port), f"{name}.yaml")
    connections = Connections(client, f"gs://{BUCKET}", lambda secret: secret)
    connections.apply(connections.plan([source]), [source])
    began = time.perf_counter()
    job = client.start_job(client.connection(name)["connectionId"])
    while not client.job(job).ended:
        time.sleep(0.05)  # Airbyte's API is asked, as the platform does
    took, ended = time.perf_counter() - began, client.job(job)
    if (ended.status, ended.rows) != ("succeeded", rows):
        raise SystemExit(f"the job did not land the {rows:,} rows: {ended}")
    return took


def dlt(python: str, server: Postgres, backend: str) -> float:
    """Return the seconds of one process of dlt."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"postgresql+psycopg2://prefect@127.0.0.1:{server.port}/postgres"
        variables = os.environ | {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
        began = time.perf_counter()
        done = subprocess.run([python, "-c", DLT, url, backend, folder], env=variables, capture_output=True, text=True)
        took = time.perf_counter() - began
        files = [file for file in Path(folder).rglob("*.parquet") if "orders" in file.parts]
        if done.returncode or not files:
            raise SystemExit(f"dlt failed: {done.stderr[-1500:]}")
        kind = pq.read_schema(files[0]).field("total").type
        print(f"  the column numeric(18,4) is {kind} in its files")
        return took


def environment() -> str | None:
    """Return the Python of dlt's environment, None where it can't be made."""
    folder = CODE / ".millrace" / "bench" / "dlt-postgres"
    try:
        python = make(folder)
    except NotInstalled as error:
        print(f"without dlt: {error}")
        return None
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "install", "--quiet", "--python", python, *DLT_EXTRAS]
    installed = subprocess.run(command, env=os.environ | {"UV_SYSTEM_CERTS": "1"}, capture_output=True, text=True)
    if installed.returncode:
        print(f"without dlt: {installed.stderr[-500:]}")
    return None if installed.returncode else python


def report(rows: int, times: dict[str, list[float]]) -> str:
    """The measurement as the documentation has it."""
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    mine, *others = medians.values()
    met = "met" if rows / mine >= GOAL else "**not met**"
    lines = [f"| {name} | {seconds:.1f} | {rows / seconds:,.0f} |" for name, seconds in medians.items()]
    faster = "yes" if others and mine <= min(others) else "**no**" if others else "not measured"
    return (
        f"`make bench-connector` on {date.today()}; {os.cpu_count()} cores, load {os.getloadavg()[1]:.0f},"
        f" {platform.system()} {platform.machine()}, Python {platform.python_version()}; medians of"
        f" {len(next(iter(times.values())))} interleaved runs.\n\n"
        f"| {rows:,} orders of PostgreSQL, read in full | s | rows/s |\n|---|---|---|\n"
        + "\n".join(lines)
        + f"\n\n- At least {GOAL:,} rows/s into the lake: {met}\n- Not slower than dlt: {faster}\n"
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres_lake", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="write the table into docs/benchmarks.md")
    options = parser.parse_args()
    if not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        print("PostgreSQL is not installed (apt-get install postgresql): PostgreSQL → lake was not measured")
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-postgres-")))
        server = stack.enter_context(logical_postgres())
        server.query(TABLE.format(rows=options.rows))
        client, python = stack.enter_context(airbyte(folder)), environment()
        runs: dict[str, Callable[[], float]] = {
            "connector → Airbyte → Parquet in the lake": lambda: ours(client, server, options.rows)
        }
        if python:
            runs["dlt with pyarrow → Parquet in a folder"] = lambda: dlt(python, server, "pyarrow")
            runs["dlt with connectorx → Parquet in a folder"] = lambda: dlt(python, server, "connectorx")
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.repeat):
            for name, run in runs.items():
                times[name].append(run())
                print(f"{name}: {times[name][-1]:.1f} s", flush=True)
    text = report(options.rows, times)
    print(text)
    if options.record:
        record("postgres", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
