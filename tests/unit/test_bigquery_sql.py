"""The SQL for BigQuery: it is BigQuery's, and every MERGE is bounded, guarded and bare as its contract lets it be."""

import json
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from beam_job.batches import Limits
from millrace.contracts.source import load_sources
from millrace.contracts.stream import StreamContract
from millrace.domain.errors import ContractError, SettingsError
from millrace.domain.ledger import LedgerEntry
from millrace.warehouse.bigquery import erase as erasing
from millrace.warehouse.bigquery import merge_sql as merging
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.bigquery.facts import MOST_ENTRIES, append_values
from millrace.warehouse.bigquery.jobs import parameters
from millrace.warehouse.bigquery.ledger import ADMIT, MERGES, MOST_PAIRS, QUARANTINED, REDRIVEN
from millrace.warehouse.bigquery.look import MERGED_SYNCS, QUALITY_RUNS, RECENT, sum_billed_bytes
from millrace.warehouse.bigquery.merge_sql import Merge, StagedTables
from millrace.warehouse.columns import prunes
from tests.support.google_sql.shapes import MADE_UP, declared
from tests.support.merging import NOON
from tests.support.servers import ROOT

NAMESPACE = sql.Namespace.of("bigquery://my-project/EU/test")
TABLES = StagedTables("`p.staging.up`", "`p.staging.del`", "`p.staging.kept`", "`p.staging.refused`")
DAYS = [date(2026, 1, 1), date(2026, 2, 1), date(2026, 12, 1)]


REAL = {s.id: s for source in load_sources(ROOT / "sources").values() for s in source.streams.values()}
ALL = MADE_UP | REAL

KEYED = {name: contract for name, contract in ALL.items() if contract.key}
contracts = pytest.mark.parametrize("contract", ALL.values(), ids=list(ALL))
keyed = pytest.mark.parametrize("contract", KEYED.values(), ids=list(KEYED))


def bounds(contract: StreamContract) -> str:
    if sql.buckets(contract):
        return merging.within(contract, [1, 3])
    kind = contract.columns[str(contract.partition.column)].type if contract.partition else ""
    if not prunes(contract):
        return "TRUE"
    return merging.within(
        contract, [datetime(d.year, d.month, d.day, tzinfo=UTC) if kind == "timestamp" else d for d in DAYS]
    )


def merge_of(contract: StreamContract, **overrides: Any) -> Merge:
    tables = TABLES if contract.reads_deletes or contract.mode != "cdc" else StagedTables(TABLES.upserts)
    defaults = {"floor": "00ff", "where": bounds(contract), "replaces": contract.mode == "overwrite"}
    return Merge(NAMESPACE, contract, tables, **defaults | overrides)


def parsed(text: str) -> list[exp.Expression]:
    statements = sqlglot.parse(text, dialect="bigquery")
    assert not [e for e in statements if isinstance(e, exp.Command)], "a statement that sqlglot only passes through"
    return [e for e in statements if e]


@contracts
def test_tables_are_partitioned_by_their_contract(contract: StreamContract) -> None:
    raw, head = parsed(sql.create_table(NAMESPACE, contract))
    assert (
        raw.find(exp.Table).sql("bigquery").replace("`", "")
        == f"my-project.test_raw_{contract.source}.{contract.stream}"
    )
    required = {c.name for c in raw.find_all(exp.ColumnDef) if c.find(exp.NotNullColumnConstraint)}
    assert required == {*contract.key, *(["_bucket"] if sql.buckets(contract) else [])}
    partitioned = raw.find(exp.PartitionedByProperty)
    assert bool(partitioned) == bool(contract.partition)
    if partitioned and contract.partition:
        assert (contract.partition.column or "_bucket") in {c.name for c in partitioned.find_all(exp.Identifier)}
    clustered = raw.find(exp.ClusterProperty)
    assert bool(clustered) == bool(contract.cluster or contract.key)
    if clustered:
        named = [c.name for c in clustered.expressions]
        assert named == list(contract.cluster or [n for n in contract.key if contract.columns[n].type != "bytes"])
    assert head.expression.find(exp.Select), "the head is made with its row"


@keyed
def test_merge_uses_literal_bounds_and_bare_keys(contract: StreamContract) -> None:
    (merge,) = parsed(merging.merge_rows(merge_of(contract)))
    assert isinstance(merge, exp.Merge)
    conditions = list(merge.args["on"].flatten())
    keys = [c for c in conditions if isinstance(c, exp.EQ)]
    for side, table in (("left", "t"), ("right", "s")):
        compared = [getattr(c, side) for c in keys]
        assert [(c.table, c.name) for c in compared] == [(table, n) for n in contract.key]
        assert all(isinstance(c, exp.Column) for c in compared), "a function of a key would keep it from its cluster"
    (bound,) = [c for c in conditions if c not in keys]
    assert not bound.find(exp.Select, exp.Is, exp.Coalesce, exp.Null), "only literals prune"
    named = {c.name for c in bound.find_all(exp.Column)}
    if prunes(contract) or sql.buckets(contract):
        assert named == {"_bucket" if sql.buckets(contract) else contract.partition and contract.partition.column}
        assert {c.table for c in bound.find_all(exp.Column)} == {"t"}
        assert bound.find(exp.Literal)
    else:
        assert bound == exp.true()


@keyed
def test_every_merge_moves_registers_up_only(contract: StreamContract) -> None:
    (merge,) = parsed(merging.merge_rows(merge_of(contract)))
    whens = merge.args["whens"].expressions
    assert not [w for w in whens if w.args.get("source")], "NOT MATCHED BY SOURCE reads the whole table"
    matched, inserted = [w for w in whens if w.args.get("matched")], [w for w in whens if not w.args.get("matched")]
    assert (len(matched), len(inserted)) == (4, 1)
    for when in matched:
        guarded = {c.right.name for c in when.args["condition"].find_all(exp.LT)}
        for update in when.args["then"].expressions:
            name = update.left.name
            if name in ("_version", "_batch_id") or name in contract.columns:
                assert "_version" in guarded
            if name in ("_delete_version", "_deleted_at", "_delete_batch_id"):
                assert "_delete_version" in guarded
    columns = {c.name for c in inserted[0].args["then"].this.expressions}
    assert columns == set(sql.table_columns(contract))


@contracts
def test_transaction_is_valid_bigquery_sql(contract: StreamContract) -> None:
    merge = merge_of(contract, again=True)
    statements = [
        *merging.count_stale(merge),
        merging.count_merged(merge),
        merging.advance_head(merge),
        merging.insert_quarantine(merge),
        sql.create_view(NAMESPACE, contract, ["extra_one"]),
        merging.merge_rows(merge) if contract.key else merging.append(merge),
    ]
    statements += [merging.delete_absent(merge)] if merge.replaces else []
    statements += [merging.touched(merge)] if contract.partition else []
    statements += [merging.count_doubled_keys(NAMESPACE, contract)] if contract.key else []
    statements += [erasing.empty_rows(NAMESPACE, contract, "TRUE")] if contract.key else []
    for statement in statements:
        (tree,) = parsed(statement)
        assert not [cast for cast in tree.find_all(exp.Cast) if cast.to.expressions], "a CAST takes no digits"
    script = merging.script(merge)
    assert (
        script.index("BEGIN TRANSACTION")
        < script.index("UPDATE `my-project.test_ops.head__")
        < script.index("SET stale")
    )
    assert (
        script.index("SET merged")
        < script.index(merging.UNBALANCED)
        < script.index("INSERT INTO `my-project.test_ops.ledger`")
    )
    assert script.rstrip().endswith("COMMIT TRANSACTION;")
    assert "WHERE epoch = @seen" in script
    assert f"IF @@row_count != 1 THEN RAISE USING MESSAGE = '{merging.MOVED}'" in script


@keyed
def test_erasure_empties_rows_and_is_bounded(contract: StreamContract) -> None:
    text = erasing.empty_rows(NAMESPACE, contract, bounds(contract))
    assert f" AND {bounds(contract)}\nWHEN MATCHED THEN" in text
    (merge,) = parsed(text)
    matched, inserted = merge.args["whens"].expressions
    set_to = {update.left.name: update.right for update in matched.args["then"].expressions}
    assert set(set_to) == set(sql.table_columns(contract)) - {*contract.key, "_bucket"}
    registers = {"_version", "_delete_version", "_deleted_at", "_batch_id", "_delete_batch_id"}
    assert {name for name, value in set_to.items() if not value.find(exp.Null)} == registers
    columns = {*contract.key, *registers} | ({"_bucket"} if sql.buckets(contract) else set())
    assert {c.name for c in inserted.args["then"].this.expressions} == columns
    assert "BEGIN TRANSACTION" in erasing.script(NAMESPACE, contract, "TRUE")


def test_platform_sql_is_valid_bigquery_sql() -> None:
    assert len(parsed(sql.create_ops(NAMESPACE))) == len(sql.OPS_TABLES)
    names = {name: NAMESPACE.ops(name) for name in sql.OPS_TABLES}
    for template in (QUARANTINED, REDRIVEN, MERGES, MERGED_SYNCS, QUALITY_RUNS):
        parsed(template.format(**names, shown=20, recent=RECENT))
    parsed(
        ADMIT.format(**names, append="SELECT 1").replace("BEGIN TRANSACTION;", "").replace("COMMIT TRANSACTION;", "")
    )
    parsed(sql.add_columns(NAMESPACE, MADE_UP["one key"], {"a": "INT64", "b": "STRING"}))
    parsed(sql.set_type(NAMESPACE, MADE_UP["one key"], "price", "decimal(12,4)"))


def test_partitions_become_ranges_within_a_limit() -> None:
    months = MADE_UP["months"]
    assert merging.within(months, DAYS) == (
        "((t.`day` >= DATE '2026-01-01' AND t.`day` < DATE '2026-03-01')"
        " OR (t.`day` >= DATE '2026-12-01' AND t.`day` < DATE '2027-01-01'))"
    )
    assert merging.within(MADE_UP["days"], DAYS[:2]) == "t.`day` IN (DATE '2026-01-01', DATE '2026-02-01')"
    scattered = [datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=2 * i) for i in range(merging.MOST_RANGES + 1)]
    assert merging.within(MADE_UP["changes"], scattered) == (
        "(t.`at` >= TIMESTAMP '2000-01-01 00:00:00+00' AND t.`at` < TIMESTAMP '2002-09-28 00:00:00+00')"
    )
    assert merging.within(MADE_UP["hash buckets"], [0, 7]) == "t._bucket IN (0, 7)"


def test_last_partition_of_time_has_no_end() -> None:
    last = datetime(9999, 12, 31, tzinfo=UTC)
    daily = declared(key=["id", "at"], partition={"column": "at"})
    assert merging.within(daily, [last - timedelta(days=1), last]) == "(t.`at` >= TIMESTAMP '9999-12-30 00:00:00+00')"
    assert merging.within(MADE_UP["months"], [date(9999, 12, 1)]) == "(t.`day` >= DATE '9999-12-01')"
    assert merging.within(MADE_UP["changes"], [datetime(9999, 1, 1, tzinfo=UTC)]).endswith("9999-01-02 00:00:00+00')")
    yearly = [datetime(9999, 1, 1, tzinfo=UTC)]
    assert merging.within(MADE_UP["instants"], yearly) == "(t.`at` >= TIMESTAMP '9999-01-01 00:00:00+00')"


def test_first_years_of_time_have_four_digits() -> None:
    assert merging.within(MADE_UP["days"], [date(1, 1, 1)]) == "t.`day` IN (DATE '0001-01-01')"
    assert "'0001-01-01 00:00:00+00'" in merging.within(MADE_UP["instants"], [datetime(1, 1, 1, tzinfo=UTC)])


def test_largest_requests_are_within_the_limit() -> None:
    """A request has at most 10 MB: https://cloud.google.com/bigquery/quotas#query_jobs."""
    name = "raw/" + "n" * 300
    objects = [{"object": name, "generation": 10**15, "job_id": 10**9, "rows": 10**9}] * Limits().max_files
    pairs = [{"object": name, "generation": 10**15}] * MOST_PAIRS
    entry = LedgerEntry(
        kind="merged", batch_id="b" * 60, source="s" * 30, stream="t" * 60, run_id="r" * 36, at=NOON, detail=name
    )
    entries = append_values([entry] * MOST_ENTRIES)
    for values in ({"objects": objects}, {"pairs": pairs}, entries):
        sent = json.dumps([parameter.to_api_repr() for parameter in parameters(values)])
        assert 1_000_000 < len(sent) < 10_000_000


@pytest.mark.parametrize(
    ("declared_type", "expected"),
    [
        ("decimal(38,9)", "NUMERIC(38, 9)"),
        ("decimal(29,0)", "NUMERIC(29, 0)"),
        ("decimal(30,0)", "BIGNUMERIC(30, 0)"),
        ("decimal(20,10)", "BIGNUMERIC(20, 10)"),
        ("decimal(76,38)", "BIGNUMERIC(76, 38)"),
        ("json", "JSON"),
    ],
)
def test_types_are_the_narrowest_that_fit(declared_type: str, expected: str) -> None:
    assert sql.column_type(declared_type) == expected


def test_unsupported_type_is_rejected_by_name() -> None:
    with pytest.raises(ContractError, match=r"decimal\(60,10\): BigQuery's decimals"):
        sql.column_type("decimal(60,10)")
    reserved = MADE_UP["one key"].with_columns({"_partitiondate": MADE_UP["one key"].columns["name"]})
    with pytest.raises(ContractError, match="keeps column names like '_partitiondate' for itself"):
        sql.table_columns(reserved)


@pytest.mark.parametrize(
    "url", ["bigquery://", "bigquery://project", "bigquery:///EU", "bigquery://P/EU", "bigquery://p-1/EU/X/y"]
)
def test_url_without_a_dataset_is_rejected(url: str) -> None:
    with pytest.raises(SettingsError, match="is not a BigQuery warehouse; expected bigquery://"):
        sql.Namespace.of(url)


def test_text_cannot_escape_its_literal() -> None:
    for value in ("it's", 'so "it" is', "back\\slash'", "two\nlines", "`tick`"):
        (select,) = parsed(f"SELECT {sql.text(value)}")
        assert select.expressions[0].name == value


def test_bytes_are_billed_to_the_labelled_stream() -> None:
    def job(billed_bytes: int | None, **labels: str) -> SimpleNamespace:
        return SimpleNamespace(labels=labels or None, total_bytes_billed=billed_bytes)

    flights, weather = ({"millrace_source": "ops", "millrace_stream": name} for name in ("flights", "weather"))
    jobs = [job(10, **flights), job(5, **flights), job(None, **weather), job(99), job(7, millrace_step="model")]
    assert sum_billed_bytes(jobs) == {"ops.flights": 15, "ops.weather": 0}
    load = SimpleNamespace(labels=flights)  # a load job bills nothing
    assert sum_billed_bytes([load]) == {"ops.flights": 0}
