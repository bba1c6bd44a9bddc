"""Commands on data, on real servers: sql, lake, request, and one stream's work without Prefect."""

import csv
import io
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from millrace.domain import names
from millrace.lake.store import Lake
from millrace.warehouse.duckdb.lock import hold
from millrace.warehouse.duckdb.marts import Marts
from tests.e2e.landing import airline, land, parquet
from tests.support.clients import PubSub
from tests.support.command_line import millrace
from tests.support.shop import write_shop

pytest_plugins = ["tests.support.stand_ins"]
SOURCE, NAME = "shop", "carriers"
STREAM = f"{SOURCE}.{NAME}"


@dataclass(frozen=True)
class Result:
    """The end of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Run = Callable[..., list[Result]]


@pytest.fixture
def topic(pubsub: PubSub) -> str:
    """The topic `ingest-requested`, and those of merges, in a project of their own; returns the project."""
    project = f"commands-{uuid.uuid4().hex[:10]}"
    for name in names.TOPICS:
        pubsub.publisher.create_topic(name=f"projects/{project}/topics/{name}")
    return project


@pytest.fixture
def run(tmp_path: Path, lake: Lake, pubsub: PubSub, topic: str) -> Run:
    """Run command lines on a lake, a Pub/Sub and a warehouse of their own, in this process."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MILLRACE_", "PREFECT_"))} | {
        "MILLRACE_LAKE__URL": lake.url,
        "MILLRACE_LAKE__ENDPOINT": lake.endpoint,
        "MILLRACE_WAREHOUSE__URL": f"duckdb:///{tmp_path / 'warehouse.duckdb'}",
        "MILLRACE_WAREHOUSE__MARTS_URL": f"duckdb:///{tmp_path / 'published.duckdb'}",
        "MILLRACE_WAREHOUSE__LOCK_TIMEOUT_S": "0.2",
        "MILLRACE_EVENTS__PROJECT": topic,
        "MILLRACE_EVENTS__ENDPOINT": pubsub.address,
        "MILLRACE_PROJECT": str(write_shop(tmp_path / "project")),
        "COLUMNS": "200",
    }

    def run_one(command: list[str]) -> Result:
        result = millrace("--environment", "local", *command, env=env)
        return Result(result.returncode, result.stdout, result.stderr)

    return lambda *commands: [run_one(command) for command in commands]


def land_rows(lake: Lake, *rows: dict[str, Any]) -> None:
    land(lake, parquet(list(rows)), source=SOURCE, stream=NAME)


def test_stream_is_merged_without_prefect(run: Run, lake: Lake) -> None:
    land_rows(lake, airline("AA", "American"), airline("UA", "United"))
    count = f"SELECT carrier, name FROM raw_{STREAM} ORDER BY carrier"
    before, merge, after, again, table, as_json, as_csv, tables, unknown = run(
        ["pending", STREAM, "--json"],
        ["merge", STREAM],
        ["pending", STREAM],
        ["merge", STREAM],
        ["sql", "SELECT kind, merged FROM ops.ledger WHERE kind = 'merged'"],
        ["sql", count, "--format", "json"],
        ["sql", count, "--format", "csv"],
        ["sql", "--format", "json"],
        ["sql", "SELECT * FROM orders"],
    )
    assert len(before.json) == 1
    assert merge.out == f"{STREAM}: 2 rows in = 2 merged + 0 superseded + 0 stale + 0 quarantined\n", merge.err
    assert after.out == f"{STREAM}: nothing is pending\n"
    assert again.out == f"{STREAM}: nothing was pending\n"
    assert "merged  2" in " ".join(table.out.split()).replace(" ", "  ")
    assert [row["name"] for row in as_json.json] == ["American", "United"]
    assert [row["table"] for row in tables.json] == [
        f"raw_{STREAM}_live",
        "ops.ledger",
        "ops.quarantine",
        "ops.quality",
    ]
    assert "orders does not exist" in unknown.err
    assert "`millrace --environment local sql` without a query lists the tables" in unknown.err
    assert list(csv.DictReader(io.StringIO(as_csv.out))) == [
        {"carrier": row["carrier"], "name": row["name"]} for row in as_json.json
    ]


def test_keys_are_found_and_erased(run: Run, lake: Lake) -> None:
    land_rows(lake, airline("AA", "American"), airline("UA", "United"))
    _, files, erased, remaining, other, migrated = run(
        ["merge", STREAM],
        ["find", STREAM, "--key", '{"carrier": "AA"}', "--json"],
        ["erase", STREAM, "--key", '{"carrier": "AA"}', "--reason", "request 7"],
        ["sql", f"SELECT carrier FROM raw_{STREAM} WHERE name IS NOT NULL", "--format", "json"],
        ["find", STREAM, "--key", '{"carrier": "XX"}'],
        ["migrate", STREAM],
    )
    assert [name for name in files.json if name.endswith(".parquet")] == files.json != []
    assert "1 keys are erased" in erased.out, erased.err
    assert remaining.json == [{"carrier": "UA"}]
    assert other.out.startswith(f"{STREAM}: no file ")
    assert migrated.code == 0, migrated.err


def test_sql_joins_marts_rows_and_ledger(run: Run, lake: Lake, tmp_path: Path) -> None:
    land_rows(lake, airline("AA", "American"), airline("UA", "United"))
    marts = Marts(tmp_path / "warehouse.duckdb", tmp_path / "published.duckdb", 1, 5)
    marts.begin_candidate("first", empty=True)
    with duckdb.connect(str(marts.candidate("first"))) as db:
        db.execute(
            "CREATE SCHEMA marts; CREATE TABLE marts.fares AS SELECT 'UA' AS carrier, 1.10::DECIMAL(9,2) AS fare"
        )
    marts.publish("first")
    joined = (
        f"SELECT m.fare, r.name, l.kind FROM marts.fares m JOIN raw_{STREAM}_live r USING (carrier)"
        " CROSS JOIN ops.ledger l WHERE l.kind = 'merged'"
    )
    rows = tmp_path / "rows.parquet"
    _, as_json, first, all_rows, parquet_file, mistyped = run(
        ["merge", STREAM],
        ["sql", joined, "--format", "json"],
        ["sql", "SELECT range AS n FROM range(5)", "--limit", "2", "--format", "csv"],
        ["sql", "SELECT range AS n FROM range(1500)", "--limit", "0", "--format", "csv"],
        ["sql", "SELECT * FROM marts.fares", "--format", "parquet", "--output", str(rows)],
        ["sql", "SELECT carier FROM marts.fares"],
    )
    assert as_json.json == [{"fare": "1.10", "name": "United", "kind": "merged"}], as_json.err
    assert (first.out, first.err) == ("n\n0\n1\n", "these are the first 2 rows; all of them: --limit 0\n")
    assert all_rows.out.count("\n") == 1501
    assert parquet_file.code == 0, parquet_file.err
    assert pq.read_table(rows).to_pylist() == [{"carrier": "UA", "fare": Decimal("1.10")}]
    assert mistyped.err.startswith("error: WarehouseRefused: DuckDB rejected the query: Binder Error")
    assert mistyped.err.count("\n") == 1
    with hold(tmp_path / "warehouse.duckdb.lock", "a merge of the test", 1):
        (marts_only,) = run(["sql", "SELECT fare FROM marts.fares", "--format", "json"])
    assert marts_only.json == [{"fare": "1.10"}], "marts are read while a merge writes"


def test_ledger_only_reads(run: Run, lake: Lake, tmp_path: Path) -> None:
    missing, unpublished = run(["sql", "SELECT * FROM ops.ledger"], ["sql", "SELECT * FROM marts.a"])
    assert [(r.code, r.err.count("\n")) for r in (missing, unpublished)] == [(1, 1)] * 2
    assert "does not exist yet; the first merge creates it" in missing.err
    assert "nothing is published at" in unpublished.err
    land_rows(lake, airline("AA", "American"))
    (tmp_path / "secret.csv").write_text("a\n1\n")
    _, *rejected, counted = run(
        ["merge", STREAM],
        ["sql", "DELETE FROM ops.ledger"],
        ["sql", "SELECT 1; SELECT 2"],
        ["sql", f"COPY (SELECT 1) TO '{tmp_path / 'copy.csv'}'"],
        ["sql", "SELECT * FROM no_table"],
        ["sql", f"SELECT * FROM '{tmp_path / 'secret.csv'}'"],
        ["sql", "SELECT count(*) AS entries FROM ops.ledger", "--format", "json"],
    )
    for result in rejected:
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith("error: WarehouseRefused: ")
    assert not (tmp_path / "copy.csv").exists()
    assert counted.json[0]["entries"] >= 1
    with hold(tmp_path / "warehouse.duckdb.lock", "a merge of the test", 1):
        (busy,) = run(["sql", "SELECT * FROM ops.ledger"])
    assert busy.code == 1
    assert "a merge of the test" in busy.err


def test_lake_commands_list_print_and_remove(run: Run, lake: Lake) -> None:
    lake.write("raw/shop/a.json", b'{"a": 1}')
    lake.write("raw/shop/b.json", b"{}")
    listed, as_json, printed, unconfirmed, removed, left = run(
        ["lake", "ls", "raw/shop/"],
        ["lake", "ls", "raw/shop/a", "--json"],
        ["lake", "cat", "raw/shop/a.json"],
        ["lake", "rm", "raw/shop/a.json"],  # standard input is empty: no confirmation
        ["lake", "rm", "raw/shop/a.json", "--yes"],
        ["lake", "ls", "--json"],
    )
    assert [line.split()[-1] for line in listed.out.splitlines()] == ["raw/shop/a.json", "raw/shop/b.json"]
    assert [(info["name"], info["size"]) for info in as_json.json] == [("raw/shop/a.json", 8)]
    assert printed.out == '{"a": 1}'
    assert unconfirmed.code == 1
    assert removed.code == 0, removed.err
    assert [info["name"] for info in left.json] == ["raw/shop/b.json"]


def test_missing_object_is_one_sentence(run: Run) -> None:
    for result in run(["lake", "cat", "raw/none"], ["lake", "rm", "raw/none", "--yes"]):
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith("error: ObjectMissing: ")
        assert "raw/none" in result.err
        assert result.err.count("\n") == 1


def test_request_is_published(run: Run, pubsub: PubSub, topic: str) -> None:
    subscription = f"projects/{topic}/subscriptions/reader"
    name = f"projects/{topic}/topics/{names.INGEST_REQUESTED}"
    pubsub.subscriber.create_subscription(name=subscription, topic=name)
    published, unknown, unknown_stream = run(
        ["request", SOURCE, "--stream", "orders", "--reason", "by hand", "--json"],
        ["request", "nowhere"],
        ["request", SOURCE, "--stream", "trains"],
    )
    (received,) = pubsub.due(subscription)
    assert published.json == {"topic": names.INGEST_REQUESTED, "id": received.message.message_id}
    assert json.loads(received.message.data) == {
        "v": 1,
        "source": SOURCE,
        "streams": ["orders"],
        "reason": "by hand",
    }
    assert [r.err.partition(": ")[2].partition(":")[0] for r in (unknown, unknown_stream)] == ["UnknownStream"] * 2
