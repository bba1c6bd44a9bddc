"""Every SQL text for BigQuery passes Google's own analyser, and rules of BigQuery that the analyser does not have."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from beam_job.steps.json_rules import is_exact
from millrace.contracts.source import load_sources
from millrace.contracts.stream import StreamContract
from millrace.domain.column_names import table_names
from millrace.domain.errors import BudgetExceeded
from millrace.warehouse.bigquery import merge_sql as merging
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.bigquery.commit import MOST_URIS
from millrace.warehouse.bigquery.merge_sql import MOST_PARTITIONS, MOST_RANGES
from millrace.warehouse.bigquery.model import ModelQueries
from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse
from tasks.model.check_merges import MOST_BATCHES
from tests.support.google_sql.analyser import Analyser
from tests.support.google_sql.evaluator import json_kept, json_rounded
from tests.support.google_sql.everything import PARAMETERS, Driven, drive, merges, use
from tests.support.google_sql.recorder import NOON
from tests.support.google_sql.rules import MOST_TEXT, check_table, check_text
from tests.support.google_sql.service import Refused
from tests.support.google_sql.shapes import MADE_UP
from tests.support.google_sql.tables import api_type
from tests.support.servers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # GoogleSQL is compiled once, which takes a minute

REAL = {s.id: s for source in load_sources(ROOT / "sources").values() for s in source.streams.values()}
ENGINE = ROOT / "millrace" / "warehouse" / "bigquery"
WITHOUT_SQL = {
    "billed_bytes",
    "candidate_url",
    "close",
    "dbt_environment",
    "published_environment",
    "raw_url",
    "session",
}
BY_MERGES = {"balance", "commit", "publish", "restore"}  # which `drive` and `begin_candidate` call
# No SQL; a reader's own SQL; a count before an int64 becomes a float64; INFORMATION_SCHEMA, which has no catalogue, and
# the marts that it lists.
NOT_DRIVEN = {"load", "read", "widen", "partitions", "export"}


@cache
def driven(shape: str) -> Driven:
    return drive(MADE_UP[shape])


@cache
def used() -> tuple[Driven, set[str]]:
    stream = drive(MADE_UP["one key"])
    return stream, use(stream)


@pytest.mark.parametrize("contract", [*MADE_UP.values(), *REAL.values()], ids=[*MADE_UP, *REAL])
def test_sql_of_a_stream_is_googles(contract: StreamContract) -> None:
    analyser = drive(contract).recorder.analyser
    kinds = {statement.split()[0] for statement in analyser.statements}
    assert kinds >= {"CREATE", "SELECT", "UPDATE", "INSERT", "BEGIN", "COMMIT", "MERGE" if contract.key else "INSERT"}
    table = analyser.tables.by_name[f"my-project.test_raw_{contract.source}.{contract.stream}"]
    types = {
        name: sql.contract_type(api_type(kind), *table.digits.get(name, (None, None)))
        for name, kind in table.columns.items()
    }
    assert {n: types[n] for n in contract.columns} == {n: c.type for n, c in contract.columns.items()}
    assert table.required == {*contract.key, *(["_bucket"] if sql.buckets(contract) else [])}


def test_every_method_of_the_warehouse_is_analysed() -> None:
    public = {name for name, value in vars(BigQueryWarehouse).items() if not name.startswith("_") and callable(value)}
    assert public == used()[1] | WITHOUT_SQL | BY_MERGES


def test_every_step_of_the_engine_is_analysed() -> None:
    code = "\n".join(path.read_text() for path in ENGINE.glob("*.py"))
    ran = {step for step, _ in used()[0].recorder.steps}
    ran |= {step for shape in ("hash buckets", "no key") for step, _ in driven(shape).recorder.steps}
    assert set(re.findall(r'step="(\w+)"', code)) - ran == NOT_DRIVEN


WRONG = {
    "column": ("s.`name`", "s.`title`"),
    "type of a literal": ("FROM_HEX('00ff')", "DATE '2026-01-01'"),
    "function": ("PARSE_JSON(", "READ_JSON("),
    "argument": ("wide_number_mode", "number_mode"),
    "parameter": ("@batch_id", "@batch"),
    "type of a parameter": ("WHERE epoch = @seen", "WHERE epoch = @batch_id"),
    "table": ("test_ops.ledger`", "test_ops.facts`"),
    "type of a variable": ("SET merged = (", "SET merged = (SELECT 'a' FROM "),
    "condition": ("IF @@row_count != 1 THEN", "IF @@row_count THEN"),
    "syntax": ("WHEN NOT MATCHED", "WHEN NEVER MATCHED"),
    "DDL in a transaction": ("COMMIT TRANSACTION", "CREATE TABLE `p.d.t` (a INT64); COMMIT TRANSACTION"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_sql_is_refused(wrong: str) -> None:
    recorder = driven("one key").recorder
    script = next(text for step, text in recorder.steps if step == "commit" and "00ff" in text and "MERGE" in text)
    right, replaced = WRONG[wrong]
    assert right in script
    recorder.analyse(script, PARAMETERS, "commit")
    with pytest.raises(Refused):
        recorder.analyse(script.replace(right, replaced), PARAMETERS, "commit")


@pytest.mark.parametrize("literal", ["DATE '10000-01-01'", "TIMESTAMP '0000-12-31 00:00:00+00'", "DATE '1-01-01'"])
def test_time_beyond_the_years_is_refused(literal: str) -> None:
    with pytest.raises(Refused, match=r"Invalid (DATE|TIMESTAMP) literal"):
        Analyser().run(f"SELECT {literal}", {})


def test_insert_without_a_required_column_is_refused() -> None:
    analyser = Analyser()
    analyser.run("CREATE TABLE `p.d.t` (a INT64 NOT NULL, b INT64 NOT NULL, c INT64)", {})
    analyser.run("INSERT INTO `p.d.t` (a, b) SELECT 1, 2", {})
    merge = "MERGE `p.d.t` t USING (SELECT 1 AS a) s ON t.a = s.a WHEN NOT MATCHED THEN INSERT (a) VALUES (s.a)"
    for statement in ("INSERT INTO `p.d.t` (a, c) SELECT 1, 2", merge):
        with pytest.raises(Refused, match="has no value for b, which is NOT NULL"):
            analyser.run(statement, {})


@pytest.mark.parametrize(
    "name", ["p.d.t.`a b`", "p.my-dataset.t", f"p.{'d' * 1025}.t", f"p.d.{'t' * 1025}", "p.d.t$20260101", "p.d.a/b"]
)
def test_name_that_no_table_has_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="can't be the name of a table"):
        check_table(name, {})


@pytest.mark.parametrize("columns", [["a" * 301], ["1st"], ["unit price"], ["_PARTITIONTIME"], ["a", "A"]], ids=str)
def test_name_that_no_column_has_is_refused(columns: list[str]) -> None:
    with pytest.raises(Refused):
        check_table("p.d.t", dict.fromkeys(columns))


@pytest.mark.parametrize("name", ["unit price", "1st", "_partitiontime", "é" * 400, "a" * 400, "_FILE_x"])
def test_columns_of_files_get_names_that_bigquery_takes(name: str) -> None:
    check_table("p.d.t", dict.fromkeys(table_names([name, "a"], ["A"]).values()))


def test_longest_queries_are_within_the_limit() -> None:
    """The longest texts that grow with data: ranges of partitions, changed days, batches of a model run."""
    half_days = [datetime(1, 1, 1, tzinfo=UTC) + timedelta(days=2 * n) for n in range(MOST_RANGES)]
    contract, recorder = MADE_UP["changes"], driven("changes").recorder
    merge = next(merge for merge, _ in merges(driven("changes")))
    check_text(merging.script(replace(merge, where=merging.within(contract, half_days))), len(PARAMETERS))
    days = ModelQueries(recorder).merged_rows(contract, ["shop-orders-0123456789ab"] * MOST_BATCHES, NOON)
    check_text(days, 0)
    with pytest.raises(Refused, match="BigQuery takes 1048576"):
        check_text(" " * (MOST_TEXT + 1), 0)
    with pytest.raises(Refused, match="10001 parameters"):
        check_text("SELECT 1", 10_001)
    with pytest.raises(Refused, match="EDIT_DISTANCE: not on the list"):
        check_text("SELECT EDIT_DISTANCE('a', 'b')", 0)


def test_batch_beyond_a_jobs_limits_is_rejected() -> None:
    stream = Driven(MADE_UP["days"])
    stream.warehouse.ensure(stream.contract)
    stream.land_values({})
    batch = stream.opened()
    staged = stream.staged(batch)
    days = [(date.fromordinal(number),) for number in range(1, MOST_PARTITIONS + 2)]
    stream.recorder.answers["touched"] = lambda *_: days
    with pytest.raises(BudgetExceeded, match="touches more than 4000 partitions"):
        stream.commit(batch, staged)
    many = staged.model_copy(update={"upserts": staged.upserts * (MOST_URIS + 1)})
    with pytest.raises(BudgetExceeded, match="10001 staging files are too many"):
        stream.commit(batch, many)


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@settings(max_examples=50, deadline=None)
@given(st.one_of(NUMBERS, st.floats(allow_nan=False, allow_infinity=False).map(repr), st.integers().map(str)))
@example("123456789012345678901234")
@example("0.12345678901234567891")
@example("9007199254740993.5")
@example("18446744073709551615")
@example("0.10000000000000001")
@example("1e400")
def test_json_numbers_are_kept_or_quarantined(number: str) -> None:
    """What the merge lets through, BigQuery gives back; what BigQuery keeps exactly, the merge lets through."""
    try:
        exact = Decimal(json_kept(number)) == Decimal(number)
    except Refused:
        exact = False
    assert is_exact(number) or not exact
    if is_exact(number):
        kept, digits = json_rounded(number), min(len(Decimal(number).as_tuple().digits), 17)
        same = Decimal(kept) == Decimal(number)
        assert same or Decimal(f"{float(kept):.{digits}g}") == Decimal(number)


def test_doubled_keys_are_changed_and_numbers_refused() -> None:
    """The evaluator shows why such texts are quarantined; the limit of 500 levels it does not have."""
    assert json_rounded('{"a": 1, "a": 2}') == '{"a":1}'
    assert json_rounded("[123456789012345678901234]") == "[1.2345678901234569e+23]"
    with pytest.raises(Refused, match="number overflow"):
        json_rounded("1e400")
