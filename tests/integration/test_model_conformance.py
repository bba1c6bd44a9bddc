"""The methods of a warehouse that model runs use: the same tests on DuckDB and on BigQuery."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from beam_job.erase import request
from millrace.domain.errors import CandidateMissing, MartsMoved, WarehouseRefused
from millrace.domain.ledger import EVER
from millrace.domain.quality import QualityFact, QualityResult
from tests.support.engines import DAYS, Engine, OnEngine
from tests.support.merging import NOON, PARQUET, contract, delete, parquet, upsert
from tests.support.servers import wait_until


def test_candidate_replaces_marts_idempotently(engine: Engine) -> None:
    warehouse = engine.warehouse
    engine.build(
        "candidate_1", {"dim": "SELECT 1 AS id", "fct": "SELECT 1 AS id UNION ALL SELECT 2", "old": "SELECT 1 AS x"}
    )
    for _ in range(2):
        assert warehouse.publish("candidate_1") == {"dim": 1, "fct": 2, "old": 1} == warehouse.marts()
    engine.build("candidate_2", {"dim": "SELECT 2 AS id", "fct": "SELECT 3 AS id"})
    assert warehouse.publish("candidate_2") == {"dim": 1, "fct": 1} == warehouse.marts()
    assert engine.query("SELECT d.id, f.id FROM {marts}.dim d CROSS JOIN {marts}.fct f") == [(2, 3)]
    with pytest.raises(CandidateMissing, match="candidate_3 is neither a candidate"):
        warehouse.publish("candidate_3")
    if engine.note("bigquery", "marts are replaced one by one, each at once, in the order they were built in"):
        assert warehouse.publish("candidate_1") == {"dim": 1, "fct": 1}, "it was published, and is not what is now"
    else:
        with pytest.raises(CandidateMissing):
            warehouse.publish("candidate_1")


def test_candidate_keeps_what_others_published(engine: Engine) -> None:
    warehouse = engine.warehouse
    engine.build("candidate_1", {"dim": "SELECT 1 AS id", "fct": "SELECT 1 AS id UNION ALL SELECT 2"})
    warehouse.publish("candidate_1")
    engine.build("slow", {"fct": "SELECT 7 AS id"}, empty=False)
    engine.build("fast", {"half": "SELECT 1 AS id"}, empty=False)
    engine.build("fast", {"fct": "SELECT 8 AS id"}, empty=False)
    assert warehouse.publish("fast") == {"dim": 1, "fct": 1}, (
        "marts that were not rebuilt stay, a half-built mart is gone"
    )
    for _ in range(2):
        with pytest.raises(MartsMoved, match="slow was begun from candidate_1, but fast is published now"):
            warehouse.publish("slow")
    assert engine.query("SELECT id FROM {marts}.fct") == [(8,)]
    engine.build("slow", {"fct": "SELECT 9 AS id"}, empty=False)
    assert engine.again().publish("slow") == {"dim": 1, "fct": 1}
    assert engine.query("SELECT id FROM {marts}.fct") == [(9,)]


def test_restored_tables_are_the_published_ones(engine: Engine) -> None:
    warehouse, seen = engine.warehouse, "SELECT id FROM {here}.fct"
    engine.build("first", {"dim": "SELECT 1 AS id", "fct": "SELECT 1 AS id", "seen": seen, "old": "SELECT 1 AS id"})
    warehouse.publish("first")
    engine.build("second", {"dim": "SELECT 2 AS id", "fct": "SELECT 2 AS id, 3 AS more", "new": "SELECT 2 AS id"})
    for _ in range(2):
        warehouse.restore("second", ["fct", "seen", "new"], known=["dim", "fct", "seen", "new"])
    rows = warehouse.publish("second")
    assert {name: rows[name] for name in rows if name != "seen"} == {"dim": 1, "fct": 1, "old": 1}
    query = "SELECT d.id AS dim, f.id AS fct, s.id AS seen FROM {marts}.dim d, {marts}.fct f, {marts}.seen s"
    assert engine.query(query) == [(2, 1, 1)]
    warehouse.restore("second", ["dim"])
    assert warehouse.publish("second") == rows, "a candidate that is published stays as it is"


def change_marts(engine: Engine, *statements: str) -> None:
    """Change the published marts by hand, as a person with a query tool does."""
    for statement in statements:
        sql = statement.format(marts=engine.schema("marts"))
        if engine.name == "bigquery":
            engine.write(sql)
            continue
        with duckdb.connect(engine.warehouse.marts_url.removeprefix("duckdb:///")) as db:
            db.execute(sql)


def test_tables_of_others_outlive_publications(engine: Engine) -> None:
    warehouse = engine.warehouse
    engine.build("candidate_1", {"dim": "SELECT 1 AS id", "old": "SELECT 1 AS id", "seen": "SELECT id FROM {here}.dim"})
    warehouse.publish("candidate_1")
    change_marts(
        engine,
        "CREATE TABLE {marts}.backup AS SELECT 7 AS id",
        "CREATE VIEW {marts}.extract AS SELECT id FROM {marts}.dim",
    )
    assert "backup" not in warehouse.marts()
    engine.build("candidate_2", {"dim": "SELECT 2 AS id"})
    warehouse.publish("candidate_2")
    assert engine.query("SELECT e.id, b.id FROM {marts}.extract e CROSS JOIN {marts}.backup b") == [(2, 7)]
    engine.build("candidate_3", {"dim": "SELECT 3 AS id"}, empty=False)
    change_marts(engine, "INSERT INTO {marts}.backup (id) VALUES (8)")
    assert warehouse.publish("candidate_3") == {"dim": 1} == warehouse.marts()
    assert engine.query("SELECT id FROM {marts}.backup ORDER BY id") == [(7,), (8,)]
    for dropped in ("old", "seen"):
        change_marts(engine, f"CREATE TABLE {{marts}}.{dropped} AS SELECT 9 AS id")
    engine.build("candidate_4", {"dim": "SELECT 4 AS id"})
    warehouse.publish("candidate_4")
    assert engine.query("SELECT o.id, s.id FROM {marts}.old o CROSS JOIN {marts}.seen s") == [(9, 9)]


def test_mart_never_replaces_anothers_table(engine: Engine) -> None:
    warehouse = engine.warehouse
    engine.build("candidate_1", {"dim": "SELECT 1 AS id"})
    warehouse.publish("candidate_1")
    change_marts(engine, "CREATE TABLE {marts}.fct AS SELECT 7 AS id")
    engine.build("candidate_2", {"dim": "SELECT 2 AS id", "fct": "SELECT 2 AS id"})
    with pytest.raises(WarehouseRefused, match=r"has (marts\.)?fct, which no publication made, .* rename or drop"):
        warehouse.publish("candidate_2")
    assert engine.query("SELECT d.id, f.id FROM {marts}.dim d CROSS JOIN {marts}.fct f") == [(1, 7)]
    change_marts(engine, "DROP TABLE {marts}.fct")
    assert engine.again().publish("candidate_2") == {"dim": 1, "fct": 1}


def version(number: int) -> dict[str, str]:
    """Build marts whose rows all have the same number: a table, one built from it, and a view of both."""
    rows = " UNION ALL ".join(f"SELECT {number} AS id" for _ in range(20))
    return {"dim": rows, "fct": rows, "both": "SELECT d.id, f.id AS other FROM {here}.dim d CROSS JOIN {here}.fct f"}


def test_readers_see_each_mart_whole_old_or_new(engine: Engine) -> None:
    engine.build("first", version(1))
    engine.warehouse.publish("first")
    ended, looks = threading.Event(), []

    def look() -> None:
        while not ended.wait(0.1):
            looks.append(
                [engine.query(f"SELECT MIN(id), MAX(id), COUNT(*) FROM {{marts}}.{mart}")[0] for mart in ("dim", "fct")]
            )

    def await_look() -> None:
        before = len(looks)
        wait_until(lambda: len(looks) > before or not reader.is_alive(), "the marts are looked at", 60)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        engine.build("refused", version(2), empty=False)  # the gate rejects it
        await_look()
        for number, name in ((3, "third"), (4, "fourth")):
            engine.build(name, version(number), empty=False)
            engine.warehouse.publish(name)
            await_look()
    finally:
        ended.set()
        reader.join()
    numbers = [[number for number, _, _ in look] for look in looks]
    assert all(look == [(n, n, 20) for n in marts] for look, marts in zip(looks, numbers, strict=True)), "torn"
    assert {n for marts in numbers for n in marts} <= {1, 3, 4}
    assert all(numbers[i][mart] <= numbers[i + 1][mart] for i in range(len(numbers) - 1) for mart in (0, 1))
    assert len(looks) >= 3
    assert engine.query("SELECT MIN(id), MAX(other), COUNT(*) FROM {marts}.both") == [(4, 4, 400)]


def test_newest_results_of_suites_are_in_order(engine: Engine) -> None:
    def facts(hour: int, suite: str, *columns: str) -> list[QualityFact]:
        return [
            QualityFact(
                at=NOON + timedelta(hours=hour),
                by="gate",
                run_id=f"r{hour}",
                candidate="c",
                result=QualityResult(
                    suite=suite,
                    expectation="expect_x",
                    column=column,
                    severity="warn",
                    success=column != "b",
                    observed='it\'s "b"',
                    sample=("1", "é")[: hour % 3],
                ),
            )
            for column in columns
        ]

    warehouse = engine.warehouse
    assert warehouse.newest_quality() == []
    old, new, other = facts(1, "marts", "a", "b"), facts(2, "marts", "z", "b", "a"), facts(0, "raw", "")
    for results in (other, old, new, []):
        warehouse.record_quality(results)
    assert warehouse.newest_quality() == [*new, *other]


def test_days_and_rows_of_batches_are_returned(engine: Engine) -> None:
    columns = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, "at": DAYS["at"]}
    merging = OnEngine(engine, contract(key=["id", "at"], partition={"column": "at"}, columns=columns))
    schema = PARQUET.append(pa.field("at", pa.timestamp("us", "UTC")))

    def land(*rows: dict[str, Any]) -> str:
        merging.land(merging.put(parquet([row | {"at": NOON + timedelta(days=row["id"])} for row in rows], schema)))
        merging.merge()
        return merging.warehouse.ledger(EVER, kinds=("merged",))[-1].batch_id

    def names_left(*batches: str) -> list[Any]:
        merged_sql = merging.warehouse.merged_rows(merging.contract, batches, as_of=None)
        return sorted(name for (name,) in merging.query(f"SELECT name FROM ({merged_sql}) found"))

    def days(*ids: int) -> list[str]:
        return [str((NOON + timedelta(days=i)).date()) for i in ids]

    warehouse = merging.warehouse
    first, second = land(upsert(1, 1), upsert(2, 1), upsert(40, 1)), land(upsert(2, 2), delete(40, 2))
    assert warehouse.touched_days(merging.contract, [second]) == days(2, 40)
    assert warehouse.touched_days(merging.contract, [first, second]) == days(1, 2, 40)
    assert warehouse.touched_days(merging.contract, []) == []
    assert (names_left(first), names_left(second), names_left(first, second), names_left()) == (
        ["v1"],
        ["v2"],
        ["v1", "v2"],
        [],
    )
    erasure = request(
        merging.lake, merging.contract, [{"id": 1, "at": (NOON + timedelta(days=1)).isoformat()}], "r", NOON
    )
    warehouse.erase(merging.contract, erasure, at=NOON)
    assert warehouse.touched_days(merging.contract, [erasure.id]) == days(1)
    assert (names_left(first), names_left(erasure.id)) == ([], [])
    assert warehouse.touched_days(contract(), [first]) is None, "no day is in its key"


def test_reader_sees_a_consistent_snapshot(merging: OnEngine) -> None:
    warehouse = merging.warehouse
    merging.land(rows=[upsert(1, 10)])
    merging.merge()
    before = warehouse.unpublished()
    with warehouse.reader("test") as as_of:
        assert warehouse.unpublished(as_of) == before
        query = warehouse.merged_rows(merging.contract, [before[0].batch_id], as_of)
        if as_of is None:
            assert merging.query(f"SELECT id FROM ({query}) found") == [(1,)]
            return
        assert merging.engine.note("bigquery", "writers go on while others read; what they read is as of an instant")
        assert abs(datetime.now(UTC) - as_of) < timedelta(minutes=1)
        merging.land(rows=[upsert(1, 11)])
        merging.merge()
        assert len(warehouse.unpublished()) == 2
        assert warehouse.unpublished(as_of) == before
        assert merging.query(f"SELECT id, name FROM ({query}) found") == [(1, "v10")]
