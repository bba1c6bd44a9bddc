"""Names of columns: a file's column gets one name in the table, whatever it is called and whatever stands beside it."""

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beam_job.steps.drift import can_be_added, cure, differences, evolve, reject_new_columns
from beam_job.steps.rows import check_types
from millrace.contracts.stream import StreamContract
from millrace.domain.column_names import (
    BIGQUERY_PREFIXES,
    PLATFORM_COLUMNS,
    is_reserved,
    is_table_name,
    suffixed,
    table_names,
)
from millrace.domain.errors import FileRejected
from millrace.domain.types import IDENTIFIER
from millrace.warehouse import columns
from millrace.warehouse.bigquery.sql import BUCKET
from tests.support.merging import contract
from tests.support.servers import ROOT

PREFIXES = [*PLATFORM_COLUMNS, *BIGQUERY_PREFIXES, "_ab_", "_airbyte_", "_quarantine_"]
PLAIN = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,3}", fullmatch=True)
OF_PREFIX = st.builds(
    lambda prefix, upper, rest: (prefix.upper() if upper else prefix) + rest,
    st.sampled_from(PREFIXES),
    st.booleans(),
    st.text(max_size=3),
)
ODD = st.one_of(st.text(max_size=6), st.text("ab_ .1", max_size=140), st.text("eé\u0301ſK", max_size=3), OF_PREFIX)
NAME = st.one_of(PLAIN, st.text("aA_", min_size=1, max_size=3), ODD, ODD.map(suffixed))
NAMES = st.lists(NAME, unique=True, max_size=12)


def safe(names: list[str]) -> list[str]:
    """Return the names that a table can have and of which no other differs only by case."""
    folded = [name.casefold() for name in names]
    return [name for name in names if is_table_name(name) and folded.count(name.casefold()) == 1]


@given(names=NAMES, declared=st.lists(NAME.filter(is_table_name), max_size=4, unique_by=str.casefold))
@example(names=["a b", suffixed("a b")], declared=[])
@example(names=["a b", suffixed("a b").upper()], declared=[])
def test_names_of_a_table_never_meet(names: list[str], declared: list[str]) -> None:
    result = table_names(names, declared)
    assert list(result) == names
    for name in result.values():
        assert IDENTIFIER.fullmatch(name)
        assert len(name) <= 128
        assert not is_reserved(name)
    meeting = [*result.values(), *(name for name in declared if name not in result.values())]
    assert len({name.casefold() for name in meeting}) == len(meeting)


@given(names=NAMES)
def test_plain_name_stays_as_it_is(names: list[str]) -> None:
    result = table_names(names, [])
    assert [result[name] for name in safe(names)] == safe(names)


@given(names=NAMES, others=NAMES)
def test_name_depends_on_no_other_column(names: list[str], others: list[str]) -> None:
    both = list(dict.fromkeys([*names, *others]))
    alone, together = table_names(names, []), table_names(both, [])
    folded = [name.casefold() for name in [*both, *(suffixed(name) for name in both if not is_table_name(name))]]
    for name in names:
        called = suffixed(name) if not is_table_name(name) else name
        if folded.count(called.casefold()) == 1:
            assert alone[name] == together[name] == called


@given(names=NAMES)
def test_names_are_the_same_in_later_files(names: list[str]) -> None:
    first = table_names(names, [])
    assert table_names(names[::-1], list(first.values())) == first


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unit price", "unit_price_ddf02b"),
        ("1st", "_1st_e01ddf"),
        ("", "_e3b0c4"),
        ("_version", "_version_02bc8f"),
        ("__ROOT__x", "___ROOT__x_55742f"),
        ("__v", "__v"),
        ("_class", "_class"),
        ("_airbyte_raw_id", "_airbyte_raw_id"),
        ("_ab_cdc_lsn", "_ab_cdc_lsn"),
        ("ID", "ID_384397"),
        ("id", "id"),
    ],
)
def test_names_of_known_columns(name: str, expected: str) -> None:
    assert table_names([name], ["id"]) == {name: expected}


def test_declared_case_twin_stays() -> None:
    assert table_names(["Id", "ID", "id"], ["id"])["id"] == "id"
    assert table_names(["Id", "ID", "id"], [])["ID"] == "ID"
    assert table_names(["id"], ["Id"])["id"] == suffixed("id")


def test_unicode_twins_do_not_meet() -> None:
    composed = "caf\u00e9"
    twins = [composed, unicodedata.normalize("NFD", composed)]
    assert len(set(table_names(twins, []).values())) == 2


def test_source_column_never_looks_like_airbytes() -> None:
    for name in (" ab_id", "_AIRBYTE_RAW_ID", "_Ab_x", "-airbyte_x"):
        assert not table_names([name], [])[name].startswith(("_ab_", "_airbyte_"))


def test_every_name_of_the_platform_is_reserved() -> None:
    own = {*columns.REGISTERS, *columns.PROVENANCE, BUCKET}
    for path in (ROOT / "millrace" / "warehouse").rglob("*.py"):
        own |= set(re.findall(r"\bAS `?\"?(_[a-z_]+)\b", path.read_text()))
    for path in (ROOT / "beam_job" / "steps").glob("*.py"):
        own |= set(re.findall(r"\"(_(?!ab_|airbyte_)[a-z]+[a-z_]*)\"", path.read_text()))
    assert {name for name in own if not is_reserved(name)} == set(), "add them to PLATFORM_COLUMNS in column_names.py"


def stream(**changes: object) -> StreamContract:
    return contract(evolution={"type_changes": "widen"}, **changes)


def test_new_column_may_begin_with_underscore() -> None:
    schema = pa.schema([("id", pa.int64()), ("__v", pa.int64()), ("_1st", pa.string()), ("_ab_x", pa.string())])
    reject_new_columns(schema, stream(), "file")
    new = differences(schema, stream())
    assert new == {"__v": "int64", "_1st": "string"}
    assert {"__v", "_1st"} <= set(evolve(stream(), [new]).columns)


@pytest.mark.parametrize("name", ["_version", "_BATCH_ID", "a b", "ID", "_partition_x", "_ab_cdc_lsn"])
def test_name_without_the_rule_is_not_added(name: str) -> None:
    assert not can_be_added(name, stream().columns)
    assert evolve(stream(), [{name: "int64"}]) == stream()


def test_refused_file_evolves_only_what_cures_it() -> None:
    def drift_of(**types: pa.DataType) -> dict[str, str]:
        kinds = {"id": pa.int64(), "_ab_cdc_lsn": pa.int64()} | types
        schema = pa.schema(list(kinds.items()))
        drift = differences(schema, declared)
        return cure(drift, declared, lambda grown: check_types(schema, grown, "file"))

    declared = contract(
        evolution={"type_changes": "widen"},
        columns={"id": {"type": "int64", "nullable": False}, "day": {"type": "date"}, "n": {"type": "int64"}},
    )
    timestamp = pa.timestamp("us")
    assert drift_of(day=timestamp, new=pa.string()) == {"day": "timestamp"}
    assert drift_of(day=timestamp, n=pa.string()) == {}, "the file stays refused, so nothing of it counts"
    assert drift_of(new=pa.string()) == {}


def test_type_without_a_rule_names_its_column(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: pa.DataType) -> str:
        raise FileRejected(f"file.type: the merge has no rule for {kind}")

    monkeypatch.setattr("beam_job.steps.drift.natural_type", refuse)
    with pytest.raises(FileRejected, match=r"file\.type: column odd: the merge has no rule for int64"):
        differences(pa.schema([("odd", pa.int64())]), stream())
