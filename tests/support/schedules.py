"""Runs a history through the merge in steps, with deaths, late arrivals, rivals, replays, mends and erasures."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import strategies as st

from beam_job import batches, erase
from beam_job.batches import Limits, close_batch, cut, open_batch
from beam_job.commit import commit_batch
from beam_job.redrive import redrive
from beam_job.reports import discard
from beam_job.steps import read
from beam_job.steps.keys import hash_keys
from millrace.domain import names
from millrace.domain.batch import Balance, Batch, Staged
from millrace.domain.errors import HeadMoved
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.lake.store import Lake
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from millrace.warehouse.port import Warehouse
from tests.support.comparison import compare, place_of
from tests.support.deaths import MOST_CALLS, Death, MortalWarehouse, die_at, dying
from tests.support.histories import bytes_of, histories, mended
from tests.support.in_process import MemoryLake, MemoryWarehouse, stage_plainly
from tests.support.mortal import Killed, MortalLake
from tests.support.oracle import EARLY, File, Key, Stream, Sync

CAP = 1 << 30
POINTS = ("opened", "half staged", "staged", "committing", "committed", "half closed")
MOST_BATCHES = 30
MOST_MENDS = 100
End = str | int | None
"""Where a process dies: at a named point, or at an operation: the n-th before its effect at 2n, after it at 2n + 1."""


@dataclass(frozen=True)
class Schedule:
    """A stream's history, and its steps in order: land a sync, merge (until a death), rival, replay, mend, erase.

    With `collide`, many keys share a hash. In the end the quarantine is mended, with `mend`, and the warehouse is
    rebuilt in batches of `rebuild` files, if any.
    """

    stream: Stream
    syncs: list[Sync]
    steps: list[tuple[str, Any]]
    max_files: int
    collide: bool
    mend: bool
    rebuild: int


@st.composite
def schedules(draw: st.DrawFn, of: st.SearchStrategy[Stream]) -> Schedule:
    """Generate schedules: syncs land in any order, with merges, deaths, rivals, replays and mends between them."""
    stream = draw(of)
    syncs = draw(histories(stream))
    others = STEPS
    if stream.contract.key:
        others = st.one_of(STEPS, STEPS, st.tuples(st.just("erase"), stream.keys))
    steps: list[tuple[str, Any]] = []
    for sync in draw(st.permutations(syncs)):
        steps.append(("land", sync))
        steps += draw(st.lists(others, max_size=2))
    files, rebuild = draw(st.sampled_from([1, 2, 100])), draw(st.sampled_from([0, 0, 0, 1, 100]))
    collide, mend = draw(st.sampled_from([False, False, False, True])), draw(st.booleans())
    return Schedule(stream, syncs, steps, files, collide, mend, rebuild)


OPERATIONS = st.integers(0, 2 * MOST_CALLS)
STEPS = st.one_of(
    st.tuples(st.just("merge"), st.none() | st.sampled_from(POINTS)),
    st.tuples(st.just("merge"), OPERATIONS),
    st.tuples(st.just("merge"), OPERATIONS),
    st.tuples(st.sampled_from(["mend", "redrive"]), st.none() | OPERATIONS),
    st.tuples(st.sampled_from(["rival", "replay"]), st.none()),
)


@dataclass
class System:
    """One stream's lake and warehouse, what landed and was erased, and the batches that were committed."""

    stream: Stream
    max_files: int
    lake: Lake = field(default_factory=MemoryLake)
    warehouse: Warehouse = field(default_factory=MemoryWarehouse)
    syncs: dict[int, Sync] = field(default_factory=dict)
    mended: set[tuple[int, int]] = field(default_factory=set)
    erased: set[Key] = field(default_factory=set)
    commits: list[tuple[Batch, Staged, Balance]] = field(default_factory=list)

    def land(self, sync: Sync) -> None:
        """Write one sync's objects and its manifest."""
        objects = [self.put(sync, part, file) for part, file in enumerate(sync.files)]
        created = EARLY + timedelta(hours=sync.job)
        manifest = LandingManifest(
            source="shop",
            stream="orders",
            connection_id="c",
            job_id=99 - sync.job,  # a job's creation orders rows, not its id
            job_created_at=created,
            outcome="succeeded" if sync.succeeded else "failed",
            sync_mode=self.stream.contract.mode,
            generation_id=sync.generation,
            epoch=sync.epoch,
            objects=tuple(objects),
            landed_at=created,
        )
        path = names.manifest_path("shop", "orders", created, "c", sync.job)
        self.lake.create(path, manifest.model_dump_json().encode())
        self.syncs[sync.job] = sync

    def put(self, sync: Sync, part: int, file: File) -> LandedObject:
        name = f"{names.sync_prefix('shop', 'orders', sync.job)}{part}.{file.encoding.ending}"
        data = bytes_of(self.stream, file, sync.generation)
        return LandedObject(name=name, generation=self.lake.write(name, data), size=len(data), rows=len(file.rows))

    @contextmanager
    def process(self, end: End) -> Iterator[None]:
        """Run a block as a process that dies at an operation, if there is one."""
        if not isinstance(end, int):
            yield
            return
        lake, warehouse, death = self.lake, self.warehouse, Death(end)
        mortal: Any = MortalLake(lake, death)
        self.lake = mortal
        self.warehouse = MortalWarehouse(warehouse, death) if isinstance(warehouse, MemoryWarehouse) else warehouse
        try:
            yield
        finally:
            self.lake, self.warehouse = lake, warehouse

    def merge(self, end: End = None, full_scan: bool = False) -> None:
        """Merge everything pending, as `merge_stream` does, until the process dies."""
        with self.process(end):
            for _ in range(MOST_BATCHES):
                batch = self.open(full_scan)
                if batch is None:
                    return
                die_at(end, "opened")
                staged = self.stage(batch, end)
                die_at(end, "staged")
                self.commit(batch, staged, end)
                die_at(end, "committed")
                with dying(self.lake, "delete", end == "half closed"):
                    close_batch(self.lake, batch)
        raise AssertionError(f"more than {MOST_BATCHES} batches: what is merged is merged again")

    def open(self, full_scan: bool) -> Batch | None:
        limits = Limits(CAP, self.max_files, plain_max_bytes=0)
        return open_batch(
            self.lake, self.warehouse, self.stream.contract, limits=limits, now=EARLY, full_scan=full_scan
        )

    def stage(self, batch: Batch, end: End = None) -> Staged:
        with dying("beam_job.engines.plain", "write_winners", end == "half staged"):
            return stage_plainly(self.lake, self.stream.contract, batch)

    def commit(self, batch: Batch, staged: Staged, end: End = None) -> None:
        with self.dying_commit(batch, end == "committing"):
            balance = commit_batch(
                self.lake, self.warehouse, self.stream.contract, batch, staged, run_id="test", at=EARLY
            )
        if batch.id not in {b.id for b, _, _ in self.commits}:
            assert batch.head_epoch == len(self.commits), "two batches were committed at one epoch of the head"
            self.commits.append((batch, staged, balance))

    def rival(self, _: None) -> None:
        """Let two committers open different batches at one head: exactly one wins."""
        contract = self.stream.contract
        self.warehouse.ensure(contract)
        head = self.warehouse.head(contract)
        if head.epoch != len(self.commits):  # a process died between its commit and the record of it here
            return
        waiting = batches._pending(self.lake, self.warehouse, contract, head, full_scan=False)
        rivals = [cut(contract, head, {path: waiting[path]}, Limits(CAP, CAP), EARLY) for path in sorted(waiting)[:2]]
        staged = [(batch, self.stage(batch)) for batch in rivals]
        for winner in staged[:1]:
            self.commit(*winner)
        for loser in staged[1:]:
            with pytest.raises(HeadMoved):
                self.commit(*loser)
        for batch in rivals:
            discard(self.lake, batch)

    def replay(self, _: None) -> None:
        """Commit an old batch again: as itself, and as a new batch at the current head."""
        if not self.commits:
            return
        batch, staged, balance = self.commits[0]
        again = commit_batch(self.lake, self.warehouse, self.stream.contract, batch, staged, run_id="x", at=EARLY)
        assert again == balance
        if self.warehouse.redriven_manifests(self.stream.contract):
            return
        head = self.warehouse.head(self.stream.contract)
        copy = batch.model_copy(update={"id": f"{batch.id}-again", "head_epoch": head.epoch})
        with pytest.raises(HeadMoved):
            self.commit(copy, self.stage(copy))
        discard(self.lake, copy)

    def redrive(self, end: End = None, max_attempts: int = 3) -> None:
        """Redrive the quarantine: the same rows are quarantined again, and nothing else changes."""
        with self.process(end):
            redrive(self.lake, self.warehouse, self.stream.contract, max_attempts=max_attempts, run_id="test", at=EARLY)

    def mend(self, end: End = None) -> None:
        """Rewrite the objects in quarantine, each once, and redrive them."""
        for quarantined in self.warehouse.quarantined_objects(self.stream.contract):
            job, part = place_of(quarantined.object)
            if (job, part) not in self.mended:
                self.mended.add((job, part))
                files = list(self.syncs[job].files)
                files[part] = mended(self.stream, self.syncs[job], part)
                self.syncs[job] = replace(self.syncs[job], files=tuple(files))
                self.put(self.syncs[job], part, files[part])
        self.redrive(end, MOST_MENDS)

    def erase(self, key: Key) -> None:
        """Request that a key is erased: its rows never come back."""
        contract = self.stream.contract
        erase.request(self.lake, contract, [dict(zip(contract.key, key, strict=True))], "asked for", EARLY)
        self.erased.add(key)

    def rebuild(self, max_files: int) -> None:
        """Merge everything in the lake into an empty warehouse."""
        self.warehouse = self.new_warehouse()
        self.max_files, self.commits = max_files, []
        self.merge(full_scan=True)

    def new_warehouse(self) -> Warehouse:
        self.warehouse.close()
        return MemoryWarehouse()

    def dying_commit(self, batch: Batch, when: bool) -> AbstractContextManager[None]:
        """Die within the transaction."""
        return dying("millrace.warehouse.duckdb.commit", "_append_objects", when)

    def landed(self) -> Iterable[LandedObject]:
        """Yield the objects of all manifests, also of those that redrives wrote."""
        for info in self.lake.list("_manifests/"):
            yield from LandingManifest.model_validate_json(self.lake.read(info.name)).objects

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows; `{raw}` and `{ops}` are schemas."""
        assert isinstance(self.warehouse, DuckDBWarehouse)
        with self.warehouse._reading("test") as db:
            assert db is not None
            return db.execute(sql.format(raw="raw_shop", ops="ops")).fetchall()


def run(schedule: Schedule, system: System) -> None:
    """Run all steps, merge the rest without a death, compare the warehouse with the model, and so a rebuilt one."""
    weak = mock.patch.object(read, "hash_keys", lambda columns: hash_keys(columns) % np.uint64(2))
    with weak if schedule.collide else nullcontext():
        for step, argument in schedule.steps:
            try:
                getattr(system, step)(argument)
            except Killed:
                continue
        system.merge()
        if schedule.mend:
            system.mend()
            system.merge()
        elif system.mended:
            system.redrive(max_attempts=MOST_MENDS)
            system.merge()
        compare(system)
        if schedule.rebuild:
            system.rebuild(schedule.rebuild)
            compare(system)
