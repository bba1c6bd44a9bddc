"""A contract in; every statement that the BigQuery warehouse runs for its stream, analysed, out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias
from unittest import mock

import pyarrow as pa

from beam_job.erase import request
from beam_job.steps.types import arrow_type
from millrace.contracts.stream import StreamContract
from millrace.domain.ledger import EVER, LedgerEntry
from millrace.domain.quality import QualityFact, QualityResult
from millrace.domain.types import Column
from millrace.warehouse import columns
from millrace.warehouse.bigquery import merge_sql as merging
from millrace.warehouse.bigquery import unchanged_sql as values
from millrace.warehouse.bigquery.commit import QUARANTINED, field
from millrace.warehouse.bigquery.merge_sql import Merge, StagedTables
from millrace.warehouse.bigquery.sql import Namespace, buckets
from millrace.warehouse.bigquery.unchanged_sql import Unchanged
from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse
from tests.support.engines import Engine, OnEngine
from tests.support.google_sql.parameters import column_type
from tests.support.google_sql.recorder import NOON, Recorder, Rows
from tests.support.google_sql.tables import Table, simple
from tests.support.in_process import MemoryLake
from tests.support.merging import GONE_AT, PARQUET, parquet

Calls: TypeAlias = dict[str, Callable[[], object]]
URL, MARTS = "bigquery://my-project/EU/test", "bigquery://my-project/marts"
MARK, OLDER, FLOOR = "__debezium_unavailable_value", "00aa", "00ff"
PARAMETERS: dict[str, Any] = {
    **dict.fromkeys(("batch_id", "source", "stream", "run_id", "floor", "oldest_pending_day"), "a"),
    **dict.fromkeys(("seen", "connection_epoch", "rows_in", "superseded", "quarantined"), 1),
    "at": NOON,
    "objects": [{"object": "raw/a.parquet", "generation": 5, "job_id": 7, "rows": 9}],
}
VALUES: dict[str, Any] = {
    "string": "a",
    "int64": 1,
    "float64": 0.5,
    "bool": True,
    "date": date(2026, 1, 1),
    "timestamp": NOON,
    "json": '{"a": 1}',
    "bytes": b"a",
}


class Driven(OnEngine):
    """A stream in a warehouse whose jobs are analysed."""

    def __init__(self, contract: StreamContract) -> None:
        lake = MemoryLake()
        lake.url = "gs://lake"
        self.recorder = Recorder(Namespace.of(URL), lake)
        with mock.patch("millrace.warehouse.bigquery.warehouse.Jobs", return_value=self.recorder):
            warehouse = BigQueryWarehouse(URL, MARTS, max_bytes_billed=1)
        nothing: Callable[..., Any] = lambda *_: None  # noqa: E731
        schema = self.recorder.namespace.dataset
        engine = Engine("bigquery", warehouse, lake, schema, nothing, nothing, nothing, nothing, nothing)
        super().__init__(engine, contract)
        listed = Table({"table_name": simple("STRING"), "partition_id": simple("STRING")})
        shown = self.recorder.namespace.id(f"raw_{contract.source}", "INFORMATION_SCHEMA.PARTITIONS")
        self.recorder.analyser.tables.put(shown, listed)
        self._committed = False
        self._merged: Rows = []
        answers = self.recorder.answers
        answers["commit"] = self._commit
        answers["balance"] = lambda *_: [(self.rows_in, self.rows_in, 0, 0, 0, 0)] if self._committed else []
        answers["merges"] = lambda *_: self._merged
        answers["redriven"] = lambda sql, _: [] if "DISTINCT" in sql else None
        answers["ledger"] = lambda sql, _: None if sql.strip().startswith("SELECT COUNT(") else []
        answers |= dict.fromkeys(("refused", "look", "mended", "quality", "touched"), lambda *_: [])
        self.rows_in = 0

    def _commit(self, *_: object) -> None:
        self._committed = True

    def land_values(self, *others: dict[str, Any]) -> None:
        """Land a sync of rows that differ from the usual ones in some values."""
        kinds = {n: self.contract.order_types[n] for n in (*self.contract.columns, *self.contract.order)}
        fields = [f for f in PARQUET if f.name.startswith("_airbyte") or f.name == "_ab_cdc_deleted_at"]
        schema = pa.schema([*fields, *(pa.field(n, arrow_type(k)) for n, k in kinds.items())])
        usual = {n: VALUES.get(k, Decimal(1)) for n, k in kinds.items()}
        self.rows_in = len(others)
        self._committed = False
        self.land(self.put(parquet([usual | other for other in others], schema)))

    def merge_values(self, *others: dict[str, Any]) -> None:
        """Merge such rows as a batch."""
        self.land_values(*others)
        self.commit(self.opened())

    def stage_tables(self) -> StagedTables:
        """Make the tables that load jobs make of staging files of every kind."""
        kinds = {
            "upserts": columns.staged_upserts(self.contract),
            "deletes": columns.staged_deletes(self.contract),
            "kept_keys": columns.keys(self.contract) or {"none": "int64"},
            "quarantined": QUARANTINED,
        }
        for kind, declared in kinds.items():
            table = Table({name: column_type(field(name, t)) for name, t in declared.items()})
            self.recorder.analyser.tables.put(f"my-project.test_staging.{kind}", table)
        named = {kind: f"`my-project.test_staging.{kind}`" for kind in kinds}
        return StagedTables(**named, older=((OLDER, named["kept_keys"]),))


def drive(contract: StreamContract) -> Driven:
    """Merge batches of every kind into a stream. Raises Refused."""
    driven = Driven(contract)
    driven.warehouse.ensure(contract)
    driven.merge_values({})
    if contract.mode == "cdc":
        driven.merge_values({"_ab_cdc_deleted_at": GONE_AT}, {n: MARK for n in contract.placeholders})
    for merge, unchanged in merges(driven):
        for text in (merging.script(*values.steps(merge, unchanged)), *values.estimated(merge, unchanged)):
            driven.recorder.analyse(text, PARAMETERS, "commit")
    return driven


def merges(driven: Driven) -> Iterator[tuple[Merge, Unchanged]]:
    """Yield merges with every option that changes their SQL."""
    contract, staged = driven.contract, driven.stage_tables()
    snapshots = contract.mode == "overwrite" and bool(contract.key)
    plain = Merge(driven.recorder.namespace, contract, staged, where=_bounds(driven))
    yield replace(plain, staged=StagedTables()), Unchanged()
    yield replace(plain, floor=FLOOR, replaces=True, again=True, objects=False), Unchanged()
    if contract.key:
        yield replace(plain, floor=OLDER, before=FLOOR, replaces=True, revives=FLOOR), Unchanged()
    if snapshots:
        spared = replace(plain, floor=FLOOR, spares=True, snapshots=(OLDER, FLOOR))
        yield replace(spared, before=FLOOR), Unchanged()
        yield replace(spared, before=OLDER, replaces=True), Unchanged()
    if not contract.key:
        yield replace(plain, mended=(("raw/a.parquet", 5), ("raw/b.parquet", 6)), floor=FLOOR), Unchanged()
    if marks := contract.placeholders:
        driven.recorder.analyse(values.create(driven.recorder.namespace, contract), {}, "prepare")
        lacking = {name: f"s._millrace_{number}" for number, name in enumerate(marks)}
        yield plain, Unchanged(lacking, marks, every=True, before=OLDER, floor=FLOOR)
        yield plain, Unchanged(dict.fromkeys(marks, values.WHOLE))


def _bounds(driven: Driven) -> str:
    """Return a condition on partitions, as the query for a batch's partitions would lead to."""
    contract = driven.contract
    if not contract.partition:
        return "TRUE"
    staged = driven.stage_tables()
    touched = merging.touched(Merge(driven.recorder.namespace, contract, staged))
    driven.recorder.analyse(touched, {}, "touched")
    if not merging.is_bounded(contract):
        return "TRUE"
    if buckets(contract):
        return merging.within(contract, [1, 3])
    column = contract.columns[str(contract.partition and contract.partition.column)]
    starts = [datetime(year, 12 if year == 9999 else 1, 1, tzinfo=UTC) for year in (1, 2026, 9999)]
    return merging.within(contract, starts if column.type == "timestamp" else [start.date() for start in starts])


def use(driven: Driven) -> set[str]:
    """Call every method of a warehouse that runs SQL; return their names. Raises Refused."""
    calls = _merge_calls(driven) | _ledger_calls(driven) | _model_calls(driven)
    for call in calls.values():
        call()
    return set(calls)


def _merge_calls(driven: Driven) -> Calls:
    contract, warehouse, pair = driven.contract, driven.warehouse, ("raw/a.parquet", 5)
    key = {name: "2026-01-01" if contract.columns[name].type in ("date", "timestamp") else "1" for name in contract.key}
    erasure = request(driven.lake, contract, [key], "because", NOON)
    driven._merged = [(*pair, 1, 0)]
    executed: list[str] = []
    driven.recorder.answers["erase"] = lambda sql, _: _erased(executed, sql, erasure.id)
    return {
        "ensure": lambda: warehouse.ensure(contract),
        "head": lambda: warehouse.head(contract),
        "evolved_columns": lambda: warehouse.evolved_columns(contract),
        "missing_columns": lambda: warehouse.missing_columns(contract),
        "merged_objects": lambda: warehouse.merged_objects(contract, [pair]),
        "quarantined_objects": lambda: warehouse.quarantined_objects(contract),
        "quarantine": lambda: warehouse.quarantine(),
        "redrive": lambda: warehouse.redrive(contract, [("m", *pair)], run_id="r", at=NOON),
        "redriven_manifests": lambda: warehouse.redriven_manifests(contract),
        "erase": lambda: warehouse.erase(contract, erasure, at=NOON),
        "erased": lambda: warehouse.erased(contract),
        "count_doubled_keys": lambda: warehouse.count_doubled_keys(contract),
    }


def _ledger_calls(driven: Driven) -> Calls:
    warehouse = driven.warehouse
    entry = LedgerEntry(kind="merged", batch_id="b", source="shop", stream="orders", run_id="r", at=NOON)
    return {
        "append": lambda: warehouse.append(entry),
        "ledger": lambda: warehouse.ledger(EVER, ["merged"]),
        "unpublished": lambda: [warehouse.unpublished(as_of) for as_of in (None, NOON)],
        "unannounced": lambda: warehouse.unannounced(),
        "unannounced_publication": lambda: warehouse.unannounced_publication(),
        "newest_model": lambda: warehouse.newest_model(),
        "changed_streams": lambda: warehouse.changed_streams(),
        "newest_merges": lambda: warehouse.newest_merges(NOON),
        "count_merges": lambda: warehouse.count_merges(driven.contract, NOON),
        "settle": lambda: warehouse.settle(NOON),
        "merged_syncs": lambda: warehouse.merged_syncs(NOON),
        "query": lambda: warehouse.query("SELECT kind FROM ops.ledger WHERE `at` >= TIMESTAMP '2026-01-01'"),
    }


def _model_calls(driven: Driven) -> Calls:
    contract, warehouse, recorder = driven.contract, driven.warehouse, driven.recorder
    result = QualityResult(
        suite="s", expectation="e", column="c", severity="warn", success=True, observed="", sample=("1",)
    )
    fact = QualityFact(at=NOON, by="gate", run_id="r", candidate="c", result=result)
    return {
        "reader": lambda: warehouse.reader("test"),
        "touched_days": lambda: warehouse.touched_days(contract, ["b"]),
        "merged_rows": lambda: [
            recorder.analyse(warehouse.merged_rows(contract, ["b", "it's"], as_of), {}, "model")
            for as_of in (None, NOON)
        ],
        "record_quality": lambda: warehouse.record_quality([fact]),
        "newest_quality": lambda: warehouse.newest_quality(),
        "quality_runs": lambda: warehouse.quality_runs(NOON),
        "begin_candidate": lambda: _publish(driven),
        "marts": lambda: warehouse.marts(),
        "migrate": lambda: warehouse.migrate(_grown(contract)),
    }


def _grown(contract: StreamContract) -> StreamContract:
    """Return a contract of which columns became text, which copies the table, or longer, which alters it."""
    texts = {name: Column(type="string") for name in ("rate", "extra", "blob") if name not in contract.key}
    return contract.with_columns(texts | {"price": Column(type="decimal(12,3)")})


def _publish(driven: Driven) -> None:
    """Publish two candidates, of which the second has one mart less and another kind of one."""
    warehouse, recorder = driven.warehouse, driven.recorder
    published = [""]
    recorder.answers["publish"] = lambda sql, given: _published(published, sql, given)
    for candidate, marts in (
        ("candidate_1", ("TABLE a", "TABLE b", "VIEW v")),
        ("candidate_2", ("VIEW a", "TABLE c")),
    ):
        warehouse.begin_candidate(candidate, empty=False)
        for mart in marts:
            kind, name = mart.split()
            table = f"`my-project.test_{candidate}.{name}`"
            recorder.analyse(f"CREATE OR REPLACE {kind} {table} AS SELECT 1 AS id", {}, "test")
        if candidate == "candidate_2":
            warehouse.restore(candidate, ["b"], known=["a", "b", "c", "v"])
        warehouse.publish(candidate)


def _erased(executed: list[str], sql: str, erasure: str) -> Rows | None:
    if "BEGIN TRANSACTION" in sql:
        executed.append(erasure)
    return [(erasure, 1)] * len(executed) if sql.strip().startswith("SELECT batch_id") else None


def _published(published: list[str], sql: str, given: Mapping[str, Any]) -> Rows | None:
    if sql.startswith("UPDATE"):
        published[0] = given["candidate"]
    if sql.startswith("SELECT candidate"):
        return [(published[0],)]
    if sql.startswith("SELECT step"):
        return []
    return [("a",), ("b",), ("v",)] if sql.strip().startswith("SELECT mart") else None
