"""Commands on data, on real servers: ledger, lake, request, and one stream's work without Prefect."""

import csv
import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from millrace.domain import names
from millrace.lake.store import Lake
from millrace.warehouse.duckdb.lock import hold
from tests.e2e.landing import airline, land, parquet
from tests.support.clients import PubSub
from tests.support.servers import ROOT

pytest_plugins = ["tests.support.stand_ins"]
STREAM = "airport_ops.airlines"


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
    """Run command lines on a lake, a Pub/Sub and a warehouse of their own, all in one process."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MILLRACE_", "PREFECT_"))} | {
        "MILLRACE_LAKE__URL": lake.url,
        "MILLRACE_LAKE__ENDPOINT": lake.endpoint,
        "MILLRACE_WAREHOUSE__URL": f"duckdb:///{tmp_path / 'warehouse.duckdb'}",
        "MILLRACE_WAREHOUSE__MARTS_URL": f"duckdb:///{tmp_path / 'published.duckdb'}",
        "MILLRACE_WAREHOUSE__LOCK_TIMEOUT_S": "0.2",
        "MILLRACE_EVENTS__PROJECT": topic,
        "MILLRACE_EVENTS__ENDPOINT": pubsub.address,
        "COLUMNS": "200",
    }

    def run_all(*commands: list[str]) -> list[Result]:
        process = subprocess.run(
            [sys.executable, "-m", "tests.e2e.commands"],
            cwd=ROOT,
            env=env,
            input=json.dumps([["--environment", "local", *command] for command in commands]),
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        reports = json.loads(process.stdout)
        assert [report for report in reports if "SystemExit" not in report[3] and report[3] != "None"] == []
        return [Result(code, out, err) for code, out, err, _ in reports]

    return run_all


def test_stream_is_merged_without_prefect(run: Run, lake: Lake) -> None:
    land(lake, parquet([airline("AA", "American"), airline("UA", "United")]))
    count = f"SELECT carrier, name FROM raw_{STREAM} ORDER BY carrier"
    before, merge, after, again, table, as_json, as_csv = run(
        ["pending", STREAM, "--json"],
        ["merge", STREAM],
        ["pending", STREAM],
        ["merge", STREAM],
        ["ledger", "SELECT kind, merged FROM ops.ledger WHERE kind = 'merged'"],
        ["ledger", count, "--format", "json"],
        ["ledger", count, "--format", "csv"],
    )
    assert len(before.json) == 1
    assert merge.out == f"{STREAM}: 2 rows in = 2 merged + 0 superseded + 0 stale + 0 quarantined\n", merge.err
    assert after.out == f"{STREAM}: nothing is pending\n"
    assert again.out == f"{STREAM}: nothing was pending\n"
    assert "merged  2" in " ".join(table.out.split()).replace(" ", "  ")
    assert [row["name"] for row in as_json.json] == ["American", "United"]
    assert list(csv.DictReader(io.StringIO(as_csv.out))) == [
        {"carrier": row["carrier"], "name": row["name"]} for row in as_json.json
    ]


def test_keys_are_found_and_erased(run: Run, lake: Lake) -> None:
    land(lake, parquet([airline("AA", "American"), airline("UA", "United")]))
    _, files, erased, remaining, other, migrated = run(
        ["merge", STREAM],
        ["find", STREAM, "--key", '{"carrier": "AA"}', "--json"],
        ["erase", STREAM, "--key", '{"carrier": "AA"}', "--reason", "request 7"],
        ["ledger", f"SELECT carrier FROM raw_{STREAM} WHERE name IS NOT NULL", "--format", "json"],
        ["find", STREAM, "--key", '{"carrier": "XX"}'],
        ["migrate", STREAM],
    )
    assert [name for name in files.json if name.endswith(".parquet")] == files.json != []
    assert "1 keys are erased" in erased.out, erased.err
    assert remaining.json == [{"carrier": "UA"}]
    assert other.out.startswith(f"{STREAM}: no file ")
    assert migrated.code == 0, migrated.err


def test_ledger_only_reads(run: Run, lake: Lake, tmp_path: Path) -> None:
    (missing,) = run(["ledger", "SELECT 1"])
    assert (missing.code, missing.err.count("\n")) == (1, 1)
    assert "does not exist yet; the first merge creates it" in missing.err
    land(lake, parquet([airline("AA", "American")]))
    (tmp_path / "secret.csv").write_text("a\n1\n")
    _, *rejected, counted = run(
        ["merge", STREAM],
        ["ledger", "DELETE FROM ops.ledger"],
        ["ledger", "SELECT 1; SELECT 2"],
        ["ledger", f"COPY (SELECT 1) TO '{tmp_path / 'copy.csv'}'"],
        ["ledger", "SELECT * FROM no_table"],
        ["ledger", f"SELECT * FROM '{tmp_path / 'secret.csv'}'"],
        ["ledger", "SELECT count(*) AS entries FROM ops.ledger", "--format", "json"],
    )
    for result in rejected:
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith("error: WarehouseRefused: ")
    assert not (tmp_path / "copy.csv").exists()
    assert counted.json[0]["entries"] >= 1
    with hold(tmp_path / "warehouse.duckdb.lock", "a merge of the test", 1):
        (busy,) = run(["ledger", "SELECT 1"])
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
        ["request", "airport_ops", "--stream", "flights", "--reason", "by hand", "--json"],
        ["request", "nowhere"],
        ["request", "airport_ops", "--stream", "trains"],
    )
    (received,) = pubsub.due(subscription)
    assert published.json == {"topic": names.INGEST_REQUESTED, "id": received.message.message_id}
    assert json.loads(received.message.data) == {
        "v": 1,
        "source": "airport_ops",
        "streams": ["flights"],
        "reason": "by hand",
    }
    assert [r.err.partition(": ")[2].partition(":")[0] for r in (unknown, unknown_stream)] == ["UnknownStream"] * 2
