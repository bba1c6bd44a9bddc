"""Keys and order: encoded versions compare as the rows' values do, and a key's hash never changes."""

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_job.steps.keys import Origin, encode_version, hash_keys, sort_words
from beam_job.steps.types import arrow_type
from millrace.domain.types import PLAIN_TYPES
from tests.support.servers import ROOT

OBJECT = "raw/shop/orders/sync_id=1/0.parquet"
ORIGIN = Origin(epoch=0, generation_id=0, job_created_us=0, job_id=1, object=OBJECT, generation=1)
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.sampled_from("\x00\x01aé\uffff\U0001f600"), max_size=4)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "json": TEXT,
    "int64": INT64,
    "float64": st.floats() | st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, -math.nan, 5e-324]),
    "bool": st.booleans(),
    "date": st.dates(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
    "bytes": st.lists(st.sampled_from([b"\x00", b"\x01", b"a", b"\xff"]), max_size=4).map(b"".join),
    "decimal(10,2)": st.decimals(-(10**7), 10**7, places=2),
    "decimal(12,10)": st.decimals(-9, 9, places=10),
    "decimal(76,1)": st.decimals(-(10**20), 10**20, places=1),
}


def place(value: Any) -> tuple[Any, ...]:
    """A value's place among others of its type: NULL, then values, then NaN."""
    if value is None:
        return (0,)
    return (2,) if isinstance(value, float) and math.isnan(value) else (1, value)


def encoded(
    order: list[pa.Array], extracted: Sequence[datetime | None], rows: list[int], origin: Origin = ORIGIN
) -> list[bytes]:
    at = pa.array(extracted, pa.timestamp("us", "UTC"))
    return list(encode_version(origin, order, at, np.array(rows, np.int64)).to_pylist())


@pytest.mark.parametrize("declared", VALUES)
@given(data=st.data())
def test_version_order_is_order_of_typed_values(declared: str, data: st.DataObject) -> None:
    value = st.none() | VALUES[declared]
    rows = data.draw(st.lists(st.tuples(value, st.none() | INT64, value), min_size=2, max_size=8))
    columns = [pa.array([r[i] for r in rows], arrow_type(kind)) for i, kind in enumerate((declared, "int64", declared))]
    versions = encoded(columns, [None] * len(rows), list(range(len(rows))))
    typed = [(*(place(v) for v in row), i) for i, row in enumerate(rows)]
    positions = range(len(rows))
    assert sorted(positions, key=versions.__getitem__) == sorted(positions, key=typed.__getitem__)


def test_every_contract_type_is_tested() -> None:
    assert set(PLAIN_TYPES) <= set(VALUES)


@pytest.mark.parametrize(("left", "right"), [(0.0, -0.0), (math.nan, -math.nan)])
def test_equal_order_values_have_one_encoding(left: float, right: float) -> None:
    first, second = (encoded([pa.array([v], pa.float64())], [None], [0]) for v in (left, right))
    assert first == second


def test_microseconds_and_dates_before_1970_count() -> None:
    at = [
        datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, 0, 0, 0, 1, UTC),
    ]
    order = encoded([pa.array(at, arrow_type("timestamp"))], [None] * 3, [0, 0, 0])
    extracted = encoded([], at, [0, 0, 0])
    assert order == sorted(set(order))
    assert extracted == sorted(set(extracted))


SMALL = st.integers(0, 3)
SIGNED = st.integers(-2, 2)
PARTS = st.tuples(SMALL, SMALL, SIGNED, SIGNED, SMALL, SIGNED, SMALL, SMALL, SMALL)


def version(
    epoch: int, generation: int, lsn: int, created: int, job: int, extracted: int, part: int, again: int, row: int
) -> bytes:
    name = f"raw/s/t/sync_id={job}/2026_01_01_17_{part}.parquet"
    origin = Origin(epoch, generation, created * 1_000_000, job, name, again)
    return encoded([pa.array([lsn])], [datetime.fromtimestamp(extracted, UTC)], [row], origin)[0]


@given(st.lists(PARTS, min_size=2, max_size=6))
def test_version_sorts_by_its_parts_from_the_left(rows: list[tuple[int, ...]]) -> None:
    versions = [version(*row) for row in rows]
    assert sorted(range(len(rows)), key=lambda i: versions[i]) == sorted(range(len(rows)), key=lambda i: rows[i])


TIES = {  # creation of the job, its id, extraction, part, row: of the loser, then of the winner
    "rows of a file": ((12, 1, 12, 0, 0), (12, 1, 12, 0, 1)),
    "files of a job": ((12, 1, 12, 0, 9), (12, 1, 12, 1, 0)),
    "attempts of a job": ((12, 1, 12, 5, 9), (12, 1, 13, 0, 0)),
    "a later job, on an earlier clock": ((12, 1, 20, 0, 0), (13, 2, 11, 0, 0)),
    "a new Airbyte, whose ids start over": ((12, 900, 20, 5, 5), (13, 1, 11, 0, 0)),
    "jobs of one instant": ((12, 1, 20, 0, 0), (12, 2, 11, 0, 0)),
}


@pytest.mark.parametrize("tie", TIES)
def test_tie_of_cursors_goes_to_the_later(tie: str) -> None:
    loser, winner = (version(0, 0, 7, *parts[:4], 1, parts[4]) for parts in TIES[tie])
    assert loser < winner
    assert version(0, 0, 8, *TIES[tie][0][:4], 1, 0) > winner, "the cursor comes first"


def stored(lsn: int, extracted: int, job: int) -> bytes:
    """Return a version as it was stored before versions named the job's creation."""
    whole = version(0, 0, lsn, 0, job, extracted, 0, 1, 0)
    before, own, at, file = whole[:-48], whole[-40:-32], whole[-32:-24], whole[-24:]
    return before + at + own + file


def test_stored_versions_are_older_than_later_jobs() -> None:
    before = stored(7, extracted=20, job=5)
    assert len(before) == len(version(0, 0, 7, 0, 5, 20, 0, 1, 0)) - 8
    assert version(0, 0, 7, 30, 1, 31, 0, 1, 0) > before
    assert version(0, 0, 7, 12, 5, 20, 0, 1, 0) < before, "the same row, redriven, is stale"
    assert version(0, 0, 8, 12, 5, 20, 0, 1, 0) > before


def test_replaced_object_gets_another_version() -> None:
    again = replace(ORIGIN, generation=2)
    assert encoded([], [None], [0]) != encoded([], [None], [0], again)


@pytest.mark.parametrize(
    ("name", "part"),
    [("a/12.parquet", 12), ("a/2026_01_02_17_3.avro", 3), ("a/4.parquet-1", 4), ("a/data.parquet", 0), ("a/5.csv", 0)],
)
def test_part_is_the_number_before_the_ending(name: str, part: int) -> None:
    assert replace(ORIGIN, object=name).part == part


@given(st.lists(st.tuples(TEXT, INT64), min_size=1, max_size=12))
def test_sorting_by_words_is_sorting_by_bytes(rows: list[tuple[str, int]]) -> None:
    columns = [pa.array([r[0] for r in rows]), pa.array([r[1] for r in rows])]
    versions = encoded(columns, [None] * len(rows), [i // 2 for i in range(len(rows))])  # some are equal
    words = list(sort_words(pa.array(versions, pa.binary())))
    expected = sorted(range(len(rows)), key=lambda i: versions[i])
    assert (list(np.lexsort(words[::-1])) if words else [*range(len(rows))]) == expected


def test_empty_version_list_has_no_words() -> None:
    assert list(sort_words(pa.array([], pa.binary()))) == []


KEYS: list[tuple[str, Any, Any]] = [
    ("string", "a", "b"),
    ("string", "a", "a\x00"),
    ("int64", 1, -1),
    ("bool", True, False),
    ("date", date(2026, 1, 1), date(2026, 1, 2)),
    ("timestamp", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    ("bytes", b"\xff\x00", b"\xff\x00\x00"),
    ("decimal(10,2)", Decimal("1.00"), Decimal("1.01")),
    ("decimal(50,2)", Decimal("1.00"), Decimal("-1.00")),
]


@pytest.mark.parametrize(("declared", "value", "other"), KEYS)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_hash_depends_on_every_column(declared: str, value: Any, other: Any, at: int) -> None:
    first = [pa.array([value], arrow_type(declared))] * 3
    second = [*first]
    second[at] = pa.array([other], arrow_type(declared))
    assert hash_keys(first)[0] != hash_keys(second)[0]


def test_hash_depends_only_on_column_order() -> None:
    first, second = pa.array([1, 2, 1]), pa.array(["a", "b", "a"])
    hashes = hash_keys([first, second])
    assert hashes[0] == hashes[2] != hashes[1]
    assert hashes[0] != hash_keys([second, first])[0]
    parts = [first.slice(0, 1), second.slice(0, 1)], [first[1:], second[1:]]
    assert list(hashes) == [row_hash for part in parts for row_hash in hash_keys(part)]


def test_shards_get_even_shares_of_keys_in_a_row() -> None:
    shares = np.bincount((hash_keys([pa.array(range(8000))]) % np.uint64(8)).astype(np.int64), minlength=8)
    assert shares.min() > 900
    assert shares.max() < 1100


HASHES = """
import pyarrow as pa
from beam_job.steps.keys import hash_keys
from beam_job.steps.types import arrow_type
from tests.unit.test_keys import KEYS
print([int(hash_keys([pa.array([value], arrow_type(kind))])[0]) for kind, *both in KEYS for value in both])
"""


def hashes_of_a_process(seed: str) -> str:
    environment = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", HASHES]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_hash_is_the_same_in_every_process() -> None:
    hashes = [int(hash_keys([pa.array([value], arrow_type(kind))])[0]) for kind, *both in KEYS for value in both]
    assert hashes_of_a_process("1") == hashes_of_a_process("2") == f"{hashes}\n"
