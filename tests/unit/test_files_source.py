"""Files of a folder as a source: types by their texts, rows by file and number, and only new files the next time."""

import gzip
import os
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local.connectors.files.__main__ import Files
from local.connectors.protocol import ARROW_FOLDER
from tests.support.connector_run import Json, Run, catalog, failure, records, runner, states


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    (folder / "orders").mkdir(parents=True)
    (folder / "orders" / "a.csv").write_text(
        'id,total,note,at,code\n1,1.50,"a ""q""\nb",2024-01-01T00:00:00Z,007\n2,,"",,\n'
    )
    lines = '{"id": 1, "x": {"a": 1.5}, "p": 12.10, "ok": true}\n\n{"id": 2, "p": 3}\n'
    with gzip.open(folder / "events.jsonl.gz", "wt") as file:
        file.write(lines)
    prices = pa.array([Decimal("1.50"), None], pa.decimal128(9, 2))
    pq.write_table(pa.table({"k": [1, 2], "price": prices}), folder / "prices.parquet")
    return folder


@pytest.fixture
def connector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(Files(), tmp_path, capsys)


def discovered(connector: Run, folder: Path) -> list[Json]:
    (message,) = connector("discover", config={"url": str(folder)})
    return list(message["catalog"]["streams"])


def test_types_follow_the_texts(connector: Run, drop: Path) -> None:
    kinds = {
        stream["name"]: {n: p["contract_type"] for n, p in stream["json_schema"]["properties"].items()}
        for stream in discovered(connector, drop)
    }
    own = {"source_file": "string", "source_row": "int64", "source_file_at": "timestamp"}
    assert kinds == {
        "events": {"id": "int64", "x": "json", "p": "decimal(38,2)", "ok": "bool"} | own,
        "orders": {"id": "int64", "total": "decimal(38,2)", "note": "string", "at": "timestamp", "code": "string"}
        | own,
        "prices": {"k": "int64", "price": "decimal(9,2)"} | own,
    }


def test_only_new_and_changed_files_are_read(connector: Run, drop: Path) -> None:
    chosen = catalog(discovered(connector, drop))
    config = {"url": str(drop)}
    first = connector("read", config=config, catalog=chosen)
    orders = records(first, "orders")
    assert [(row["source_row"], row["note"], row["total"], row["code"]) for row in orders] == [
        (1, 'a "q"\nb', "1.50", "007"),
        (2, "", None, None),
    ]
    assert len(records(first)) == 6
    assert records(connector("read", config=config, catalog=chosen, state=states(first))) == []
    (drop / "orders" / "b.csv").write_text("id,total\n3,9\n")
    os.utime(drop / "prices.parquet", (2_000_000_000, 2_000_000_000))
    second = connector("read", config=config, catalog=chosen, state=states(first))
    assert [row["id"] for row in records(second, "orders")] == [3]
    assert len(records(second, "prices")) == 2


def test_rows_of_a_batch_are_one_file(
    connector: Run, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = catalog([s for s in discovered(connector, drop) if s["name"] == "prices"])
    batches = tmp_path / "batches"
    batches.mkdir()
    monkeypatch.setenv(ARROW_FOLDER, str(batches))
    messages = connector("read", config={"url": str(drop)}, catalog=chosen)
    (batch,) = [m["record_batch"] for m in messages if m["type"] == "RECORD_BATCH"]
    with pa.ipc.open_file(batches / batch["file"]) as reader:
        assert reader.read_all().column("price").to_pylist() == [Decimal("1.50"), None]
    assert (batch["rows"], records(messages)) == (2, [])


def test_missing_folder_is_named(connector: Run, tmp_path: Path) -> None:
    assert (
        failure(connector("discover", config={"url": str(tmp_path / "no")}))
        == f"{tmp_path}/no is not a folder on this machine"
    )
    assert failure(connector("discover", config={})) == "the configuration lacks url"
    (status,) = connector("check", config={"url": str(tmp_path / "no")})
    assert status["connectionStatus"]["status"] == "FAILED"


def test_broken_file_fails_with_its_name(connector: Run, drop: Path) -> None:
    chosen = catalog(discovered(connector, drop))
    (drop / "events.jsonl.gz").unlink()
    (drop / "events.jsonl").write_text('{"id": 1\n')
    assert failure(connector("read", config={"url": str(drop)}, catalog=chosen)).startswith("events.jsonl: ")
