"""Logical replication while transactions run, and the connector is killed at any moment: no row is lost or doubled."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.pg_source import config, logical_postgres
from tests.support.postgres import Postgres
from tests.support.servers import ROOT

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed: nothing was run against PostgreSQL")

SEED = int(os.environ.get("MILLRACE_SEED", str(time.time_ns() % 10**6)))
ROUNDS, KEYS = 8, 60
PLACEHOLDER = "__debezium_unavailable_value"
TABLES = ("one", "two")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with logical_postgres() as server:
        for table in TABLES:
            server.query(f"CREATE TABLE {table} (id int PRIMARY KEY, body text, scan bytea, n numeric(12,3))")
            server.query(f"ALTER TABLE {table} ALTER body SET STORAGE EXTERNAL, ALTER scan SET STORAGE EXTERNAL")
            server.query(f"INSERT INTO {table} SELECT g, repeat('a', 3000), '\\x00', g FROM generate_series(1, 30) g")
        yield server


class Writers:
    """Threads that change rows in transactions of all lengths, some of which roll back."""

    def __init__(self, server: Postgres, seed: int) -> None:
        self._address = f"host=127.0.0.1 port={server.port} user=prefect dbname=postgres"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(random.Random(seed + n),)) for n in range(3)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, chance: random.Random) -> None:
        with psycopg.connect(self._address) as connection:
            while not self._stop.is_set():
                try:
                    for _ in range(chance.randint(1, 6)):
                        connection.execute(self._statement(chance))
                        time.sleep(chance.choice([0, 0, 0.02, 0.3]))
                    connection.execute("ROLLBACK" if chance.random() < 0.15 else "COMMIT")
                except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
                    connection.rollback()

    def _statement(self, chance: random.Random) -> str:
        table, key, other = chance.choice(TABLES), chance.randint(1, KEYS), chance.randint(1, KEYS)
        large = f"repeat('{chance.choice('bcd')}', {chance.choice([5, 3000])})"
        return chance.choice(
            [
                f"INSERT INTO {table} VALUES ({key}, {large}, decode(repeat('ab', 3000), 'hex'), {other}.5)"
                f" ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                f"UPDATE {table} SET n = n + 1 WHERE id = {key}",
                f"UPDATE {table} SET id = {other} WHERE id = {key}",
                f"DELETE FROM {table} WHERE id = {key}",
            ]
        )


def read(settings: Json, streams: list[Json], states: list[Json], folder: Path, kill_after: int | None) -> list[Json]:
    """The messages of one run of the connector, which is killed after so many of them."""
    inputs = {"config": settings, "catalog": {"streams": streams}, "state": states}
    arguments = []
    for name, content in inputs.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
        arguments += [f"--{name}", str(folder / f"{name}.json")]
    command = [sys.executable, "-m", "local.connectors.postgres", "read", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout
    messages = []
    with process.stdout:
        for count, line in enumerate(process.stdout, 1):
            messages.append(json.loads(line))
            if count == kill_after:
                process.kill()
                break
    process.wait()
    return messages


def merged(records: list[Json]) -> dict[int, Json]:
    """The rows as the merge leaves them: the newest by its position in the log, deletes last."""
    live: dict[int, Json] = {}
    for row in sorted(records, key=lambda row: row["_ab_cdc_lsn"]):
        before = live.get(row["id"], {})
        live[row["id"]] = {k: before.get(k) if v == PLACEHOLDER else v for k, v in row.items()}
    return {k: row for k, row in live.items() if row["_ab_cdc_deleted_at"] is None}


def expected(server: Postgres, table: str) -> dict[int, tuple[str, str, str]]:
    query = f"SELECT id, body, encode(scan, 'base64'), n FROM {table}"
    with psycopg.connect(f"host=127.0.0.1 port={server.port} user=prefect dbname=postgres") as connection:
        return {key: (body, scan.replace("\n", ""), str(n)) for key, body, scan, n in connection.execute(query)}


def test_snapshot_waits_for_every_open_transaction(database: Postgres, tmp_path: Path) -> None:
    settings = config(database, cdc=True, replication_slot="waits", publication="waits")
    database.query("CREATE PUBLICATION waits FOR TABLE one")
    database.query("SELECT pg_create_logical_replication_slot('waits', 'pgoutput')")  # which waits, too
    streams = [{"stream": {"name": "one", "namespace": "public", "json_schema": {}}, "sync_mode": "incremental"}]
    with (
        psycopg.connect(f"host=127.0.0.1 port={database.port} user=prefect dbname=postgres") as writer,
        ThreadPoolExecutor() as pool,
    ):
        writer.execute("DELETE FROM one WHERE id = 30")  # no transaction begins after it and ends before it
        reading = pool.submit(read, settings, streams, [], tmp_path, None)
        with pytest.raises(TimeoutError):
            reading.result(3)
        writer.commit()
        records = [m["record"]["data"] for m in reading.result(60) if m["type"] == "RECORD"]
    assert sorted(merged(records)) == list(range(1, 30))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_connector_loses_no_change(database: Postgres, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    settings = config(database, cdc=True)
    properties = {"json_schema": {"properties": {}}, "namespace": "public"}
    streams = [{"stream": {"name": name, **properties}, "sync_mode": "incremental"} for name in TABLES]
    records: dict[str, list[Json]] = {name: [] for name in TABLES}
    states: list[Json] = []
    kills = 0
    writers = Writers(database, SEED)
    try:
        for number in range(ROUNDS):
            chosen = streams[: 1 if number < 2 else 2]  # the second table is added later
            limit = chance.choice([None, 3, chance.randint(2, 40), chance.randint(2, 400)])
            messages = read(settings, chosen, states, tmp_path, limit)
            kills += limit is not None and len(messages) == limit
            for message in messages:
                if message["type"] == "RECORD":
                    records[message["record"]["stream"]].append(message["record"]["data"])
                elif message["type"] == "STATE":
                    states = [message["state"]]
    finally:
        writers.stop()
    last = read(settings, streams, states, tmp_path, None)
    assert last[-1]["trace"]["stream_status"]["status"] == "COMPLETE", (SEED, last[-1])
    for message in (m for m in last if m["type"] == "RECORD"):
        records[message["record"]["stream"]].append(message["record"]["data"])
    sys.stdout.write(
        f"seed {SEED}: {sum(map(len, records.values())):,} records, the connector was killed {kills} times\n"
    )
    for table in TABLES:
        live = {key: (row["body"], row["scan"], row["n"]) for key, row in merged(records[table]).items()}
        assert live == expected(database, table), (SEED, table)
