"""The newest row of each register, compared with a loop over all of them."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from beam_job.steps.winners import newest, newest_deletes

# Few hashes for more keys, so that some collide; versions that differ in a word, or in length.
VERSIONS = st.binary(min_size=1, max_size=3).map(lambda end: b"\x07" * 8 + end + b"\x00" * 8)
ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 1), VERSIONS), min_size=1, max_size=40, unique_by=lambda row: row[2]
)


def table(rows: list[tuple[int, int, bytes]], hashes: int, spread: int = 1) -> pa.Table:
    return pa.table(
        {
            "hash": pa.array([key % hashes * spread % (1 << 64) for key, _, _ in rows], pa.uint64()),
            "version": pa.array([version for _, _, version in rows], pa.binary()),
            "kind": pa.array([kind for _, kind, _ in rows], pa.int8()),
            "key_0": pa.array([key for key, _, _ in rows], pa.int64()),
        }
    )


@given(ROWS, st.integers(1, 8), st.sampled_from([1, 0x9E3779B97F4A7C15]))
def test_highest_version_wins_each_register(rows: list[tuple[int, int, bytes]], hashes: int, spread: int) -> None:
    """Hashes differ in their low bits alone, or in all."""
    highest: dict[tuple[int, int], bytes] = {}
    for key, kind, version in rows:
        highest[key, kind] = max(highest.get((key, kind), b""), version)
    expected = [version == highest[key, kind] for key, kind, version in rows]
    assert newest(table(rows, hashes, spread)).tolist() == expected


def test_tie_is_decided_by_later_words() -> None:
    rows = [(1, 0, b"\x00" * 16 + b"\x02"), (1, 0, b"\x00" * 16 + b"\x03"), (2, 0, b"\x00" * 15 + b"\x01\x01")]
    assert newest(table(rows, 8)).tolist() == [False, True, True]


@given(ROWS, st.integers(1, 8))
def test_every_upsert_and_the_newest_delete_stay(rows: list[tuple[int, int, bytes]], hashes: int) -> None:
    keys = table(rows, hashes)
    expected = [kind == 0 or won for (_, kind, _), won in zip(rows, newest(keys).tolist(), strict=True)]
    assert newest_deletes(keys).tolist() == expected
