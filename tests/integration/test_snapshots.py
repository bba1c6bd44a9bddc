"""Snapshots with quarantined rows give the same live rows in any order, and however batches are cut."""

import itertools
from typing import Any

import pyarrow as pa
import pytest

from tests.support.engines import Engine, OnEngine
from tests.support.in_process import InProcess
from tests.support.merging import PARQUET, Merging, contract, parquet

HALF = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))
ABSENT, REFUSED = "absent", "refused"
Snapshot = dict[int, str]


def rows_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return a snapshot's rows by key; a refused one has half an amount."""
    return [{"id": k, "name": v, "amount": 0.5 if v == REFUSED else 1.0} for k, v in snapshot.items() if v != ABSENT]


def expected(snapshots: dict[int, Snapshot]) -> dict[int, str]:
    """Return the live rows: a refused row keeps the values of the newest snapshot that is not refused."""
    live = {}
    for key in {key for snapshot in snapshots.values() for key in snapshot}:
        values = [snapshots[generation].get(key, ABSENT) for generation in sorted(snapshots, reverse=True)]
        value = next((v for v in values if v != REFUSED), ABSENT)
        if value != ABSENT:
            live[key] = value
    return live


def merged(snapshots: dict[int, Snapshot], batches: list[list[int]]) -> InProcess:
    """Merge snapshots by generation, several in a batch."""
    merging = InProcess(contract(mode="overwrite", order=[]))
    merge_into(merging, snapshots, batches)
    return merging


def merge_into(merging: Merging, snapshots: dict[int, Snapshot], batches: list[list[int]]) -> None:
    for batch in batches:
        for generation in batch:
            merging.land(merging.put(parquet(rows_of(snapshots[generation]), HALF)), generation_id=generation)
        assert len(merging.merge()) == 1


def cuts(order: tuple[int, ...]) -> list[list[list[int]]]:
    """Return every way to cut an order into batches."""
    found = []
    for size in range(len(order)):
        for places in itertools.combinations(range(1, len(order)), size):
            edges = [0, *places, len(order)]
            found.append([list(order[a:b]) for a, b in itertools.pairwise(edges)])
    return found


def all_states() -> dict[int, Snapshot]:
    """Return three snapshots in which each key has another sequence of values, absences and refused rows."""
    kinds = ("value", ABSENT, REFUSED)
    snapshots: dict[int, Snapshot] = {1: {0: "v1"}, 2: {0: "v2"}, 3: {0: "v3"}}
    for key, sequence in enumerate(itertools.product(kinds, repeat=3), 1):
        for generation, kind in enumerate(sequence, 1):
            snapshots[generation][key] = f"v{generation}" if kind == "value" else kind
    return snapshots


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))), ids=str)
def test_snapshots_merge_alike_however_cut(order: tuple[int, ...]) -> None:
    snapshots = all_states()
    for batches in cuts(order):
        merging = merged(snapshots, batches)
        assert merging.live() == expected(snapshots), batches
        assert merging.warehouse.count_doubled_keys(merging.contract) == 0


@pytest.mark.parametrize("batches", [[[1], [2], [3]], [[1], [2, 3]], [[1, 2, 3]], [[1], [3], [2]]], ids=str)
def test_older_refused_row_keeps_no_deleted_key(batches: list[list[int]]) -> None:
    snapshots = {1: {1: "a1", 2: "b1"}, 2: {1: "a2", 2: REFUSED}, 3: {1: "a3"}}
    assert merged(snapshots, batches).live() == {1: "a3"}


def test_next_snapshot_forgets_a_spared_key() -> None:
    snapshots = {1: {1: "a1", 2: "b1"}, 3: {1: "a3", 2: REFUSED, 3: REFUSED}, 4: {1: "a4"}}
    merging = merged(snapshots | {2: {1: "a2", 2: "b2", 3: "c2"}}, [[1], [3], [4], [2]])
    assert merging.live() == {1: "a4"}


def test_late_snapshot_revives_a_deleted_key() -> None:
    snapshots: dict[int, Snapshot] = {1: {1: "a1"}, 2: {2: "b2"}, 3: {1: "a3"}, 4: {1: REFUSED}}
    assert merged(snapshots, [[1], [2], [4], [3]]).live() == {1: "a3"}


def test_late_snapshot_fills_a_refused_key() -> None:
    snapshots = {1: {1: "a1"}, 2: {1: "a2", 2: "b2"}, 3: {1: "a3", 2: REFUSED}}
    merging = merged(snapshots, [[1], [3]])
    assert merging.live() == {1: "a3"}
    merging.land(rows=[{"id": 1, "name": "a2"}, {"id": 2, "name": "b2"}], generation_id=2)
    (balance,) = merging.merge()
    assert (balance.merged, balance.stale, balance.tombstoned_by_absence) == (1, 1, 0)
    assert merging.live() == {1: "a3", 2: "b2"}


@pytest.mark.parametrize("batches", [[[2], [3], [1]], [[1], [2, 3]], [[3, 2], [1]]], ids=str)
def test_snapshots_merge_alike_on_each_engine(engine: Engine, batches: list[list[int]]) -> None:
    merging, snapshots = OnEngine(engine, contract(mode="overwrite", order=[])), all_states()
    merge_into(merging, snapshots, batches)
    assert merging.live() == expected(snapshots)
    assert merging.warehouse.count_doubled_keys(merging.contract) == 0
