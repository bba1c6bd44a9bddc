"""Refreshes of which rows are in quarantine: the same table in any order of syncs, and any cut into batches."""

import itertools
import random
from dataclasses import dataclass

import pytest

from beam_job.redrive import redrive
from tests.integration.test_refresh import BAD, of
from tests.integration.test_snapshots import HALF, cuts
from tests.support.engines import Engine, OnEngine
from tests.support.in_process import InProcess
from tests.support.merging import NOON, Merging, contract, delete, parquet, upsert


@dataclass(frozen=True)
class Sync:
    """A sync of a generation: keys with a name, refused keys, and deleted ones; its place in a history is its job."""

    generation: int
    succeeded: bool
    rows: dict[int, str]
    refused: tuple[int, ...] = ()
    deleted: tuple[int, ...] = ()


History = dict[int, Sync]


def expected(syncs: History) -> dict[int, str]:
    """Return the live rows: of the newest generation of which no row was refused until its first sync succeeded."""
    whole = 0
    for generation in {s.generation for s in syncs.values()}:
        own = {job: s for job, s in syncs.items() if s.generation == generation}
        ended = min((job for job, s in own.items() if s.succeeded), default=None)
        if ended is not None and not any(s.refused for job, s in own.items() if job <= ended):
            whole = max(whole, generation)
    live: dict[int, str] = {}
    for job in sorted(syncs, key=lambda job: (syncs[job].generation, job)):
        if syncs[job].generation >= whole:
            live |= syncs[job].rows
            live = {key: name for key, name in live.items() if key not in syncs[job].deleted}
    return live


def land(merging: Merging, job: int, sync: Sync) -> None:
    """Land a sync with a time and cursors that follow from its job."""
    base = 10 * job
    rows = [upsert(key, base, name) for key, name in sync.rows.items()]
    rows += [upsert(key, base + 1) | BAD for key in sync.refused]
    rows += [delete(key, base + 2) for key in sync.deleted]
    merging.jobs = job - 1
    landed = merging.put(parquet([of(sync.generation, row) for row in rows], HALF))
    outcome = "succeeded" if sync.succeeded else "failed"
    merging.land(landed, generation_id=sync.generation, outcome=outcome)


def check(merging: Merging, syncs: History, batches: list[list[int]]) -> None:
    """Merge syncs by their jobs, several in a batch, and compare the live rows after each batch."""
    landed: History = {}
    for batch in batches:
        for job in batch:
            land(merging, job, syncs[job])
            landed[job] = syncs[job]
        merging.merge()
        assert merging.live() == expected(landed), (batches, batch)
    assert merging.warehouse.count_doubled_keys(merging.contract) == 0
    assert merging.merge() == []


OLD = Sync(1, True, {1: "a1", 2: "b1", 3: "c1"})
HISTORIES = {
    "a later sync has one": {1: OLD, 2: Sync(2, True, {1: "a2"}), 3: Sync(2, True, {4: "d2"}, refused=(2,))},
    "an earlier sync has one": {1: OLD, 2: Sync(2, True, {1: "a2"}, refused=(2,)), 3: Sync(2, True, {4: "d2"})},
    "a failed sync has one": {1: OLD, 2: Sync(2, False, {1: "a2"}, refused=(2,)), 3: Sync(2, True, {4: "d2"})},
    "the first of three has one": {
        1: Sync(2, False, {1: "a2"}, refused=(2,)),
        2: Sync(2, True, {4: "d2"}),
        3: Sync(2, True, {5: "e2"}),
        4: OLD,
    },
}
DEEP = {
    1: Sync(1, True, {1: "a1", 2: "b1", 3: "c1"}),
    2: Sync(1, True, {3: "c1"}, deleted=(1,)),
    3: Sync(2, True, {2: "b2", 5: "e2"}),
    4: Sync(3, False, {1: "a3"}, refused=(2,)),
    5: Sync(3, True, {4: "d3"}),
}


@pytest.mark.parametrize("batches", [[[1, 2, 3]], [[1], [2], [3]], [[1], [3], [2]], [[3], [1, 2]]], ids=str)
@pytest.mark.parametrize("name", list(HISTORIES)[:3])
def test_refused_rows_count_alike_however_cut(name: str, batches: list[list[int]]) -> None:
    check(InProcess(contract()), HISTORIES[name], batches)


def test_refused_row_that_is_late_brings_rows_back(engine: Engine) -> None:
    merging = OnEngine(engine, contract())
    check(merging, HISTORIES["an earlier sync has one"], [[3], [1], [2]])
    assert merging.warehouse.head(merging.contract).floor == f"{1:024x}"
    merging.lake.write("raw/shop/orders/sync_id=2/0.parquet", parquet([of(2, upsert(2, 20, "b2"))]))
    redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON)
    merging.merge()
    assert merging.live() == {1: "a2", 2: "b2", 4: "d2"}


@pytest.mark.slow
@pytest.mark.parametrize("name", HISTORIES)
def test_refused_rows_count_alike_in_any_order(name: str) -> None:
    syncs = HISTORIES[name]
    orders = list(itertools.permutations(syncs))
    for order in random.Random(1).sample(orders, 6):
        for batches in cuts(order):
            check(InProcess(contract()), syncs, batches)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(12))
def test_two_refreshes_count_alike_in_any_order(number: int) -> None:
    order = random.Random(number).sample(list(DEEP), len(DEEP))
    for batches in random.Random(number).sample(cuts(tuple(order)), 3):
        check(InProcess(contract()), DEEP, batches)
