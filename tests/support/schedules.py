"""Runs a history through the merge with crashes, late arrivals, rivals and replays, and compares with the model."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from hypothesis import strategies as st

from beam_job import batches
from beam_job.batches import Limits, close_batch, cut, open_batch
from beam_job.commit import commit_batch
from beam_job.redrive import redrive
from beam_job.reports import discard
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance, Batch, Staged
from millrace.domain.errors import HeadMoved
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.lake.store import Lake
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from millrace.warehouse.port import Warehouse
from tests.support.in_process import MemoryLake, MemoryWarehouse, stage_plainly
from tests.support.oracle import EARLY, File, Stream, Sync, bytes_of, histories, model, table_of

CAP = 1 << 30
POINTS = ("opened", "half staged", "staged", "committing", "committed", "half closed")
MOST_BATCHES = 30
FILE = re.compile(r"sync_id=(\d+)/(\d+)\.")


class Crash(Exception):
    """The process dies here."""


@dataclass(frozen=True)
class Schedule:
    """A stream's history, and what happens in which order: land a sync, merge (until a crash), rival, replay."""

    stream: Stream
    syncs: list[Sync]
    steps: list[tuple[str, Any]]
    max_files: int


@st.composite
def schedules(draw: st.DrawFn, stream: Stream) -> Schedule:
    """Syncs land in any order; merges, crashes, rivals and replays come between them."""
    syncs = draw(histories(stream))
    steps: list[tuple[str, Any]] = []
    for sync in draw(st.permutations(syncs)):
        steps.append(("land", sync))
        steps += draw(st.lists(STEPS, max_size=2))
    return Schedule(stream, syncs, steps, draw(st.sampled_from([1, 2, 100])))


STEPS = st.one_of(
    st.tuples(st.just("merge"), st.none() | st.sampled_from(POINTS)),
    st.tuples(st.just("merge"), st.sampled_from(POINTS)),
    st.tuples(st.sampled_from(["rival", "replay", "redrive"]), st.none()),
)


@dataclass
class Place:
    """One stream's lake and warehouse, and what was committed to it."""

    stream: Stream
    max_files: int
    lake: Lake = field(default_factory=MemoryLake)
    warehouse: Warehouse = field(default_factory=MemoryWarehouse)
    landed: dict[str, LandingManifest] = field(default_factory=dict)
    commits: list[tuple[Batch, Staged, Balance]] = field(default_factory=list)

    def land(self, sync: Sync) -> None:
        """One sync's objects and its manifest."""
        objects = [self.put(sync, part, file) for part, file in enumerate(sync.files)]
        created = EARLY + timedelta(hours=sync.job)
        manifest = LandingManifest(
            source="shop",
            stream="orders",
            connection_id="c",
            job_id=sync.job,
            job_created_at=created,
            outcome="succeeded",
            sync_mode=self.stream.contract.mode,
            generation_id=sync.generation,
            epoch=sync.epoch,
            objects=tuple(objects),
            landed_at=created,
        )
        path = names.manifest_path("shop", "orders", created, "c", sync.job)
        self.lake.create(path, manifest.model_dump_json().encode())
        self.landed[path] = manifest

    def put(self, sync: Sync, part: int, file: File) -> LandedObject:
        name = f"{names.sync_prefix('shop', 'orders', sync.job)}{part}.{file.ending}"
        data = bytes_of(table_of(self.stream, file, sync.generation), file.ending)
        return LandedObject(name=name, generation=self.lake.write(name, data), size=len(data), rows=len(file.rows))

    def merge(self, crash: str | None) -> None:
        """All that is pending, as `merge_stream` does it, up to the crash."""
        for _ in range(MOST_BATCHES):
            limits = Limits(CAP, self.max_files, plain_max_bytes=0)
            batch = open_batch(self.lake, self.warehouse, self.stream.contract, limits=limits, now=EARLY)
            if batch is None:
                return
            die(crash, "opened")
            staged = self.stage(batch, crash)
            die(crash, "staged")
            self.commit(batch, staged, crash)
            die(crash, "committed")
            with dying(self.lake, "delete", crash == "half closed"):
                close_batch(self.lake, batch)
        raise AssertionError(f"more than {MOST_BATCHES} batches: what is merged is merged again")

    def stage(self, batch: Batch, crash: str | None = None) -> Staged:
        with dying("beam_job.engines.plain", "write_winners", crash == "half staged"):
            return stage_plainly(self.lake, self.stream.contract, batch)

    def commit(self, batch: Batch, staged: Staged, crash: str | None = None) -> None:
        with self.dying_commit(batch, crash == "committing"):
            balance = commit_batch(
                self.lake, self.warehouse, self.stream.contract, batch, staged, run_id="test", at=EARLY
            )
        if batch.id not in {b.id for b, _, _ in self.commits}:
            assert batch.head_epoch == len(self.commits), "two batches were committed at one epoch of the head"
            self.commits.append((batch, staged, balance))

    def rival(self) -> None:
        """Two committers that opened different batches at one head: exactly one wins."""
        contract = self.stream.contract
        self.warehouse.ensure(contract)
        head = self.warehouse.head(contract)
        waiting = batches._pending(self.lake, self.warehouse, contract, head, audit=False)
        rivals = [cut(contract, head, {path: waiting[path]}, Limits(CAP, CAP), EARLY) for path in sorted(waiting)[:2]]
        staged = [(batch, self.stage(batch)) for batch in rivals]
        for winner in staged[:1]:
            self.commit(*winner)
        for loser in staged[1:]:
            with pytest.raises(HeadMoved):
                self.commit(*loser)
        for batch in rivals:
            discard(self.lake, batch)

    def replay(self) -> None:
        """What was committed comes again: as the same batch, and as a batch of its own at today's head."""
        if not self.commits:
            return
        batch, staged, balance = self.commits[0]
        again = commit_batch(self.lake, self.warehouse, self.stream.contract, batch, staged, run_id="x", at=EARLY)
        assert again == balance
        if self.warehouse.redriven(self.stream.contract):
            return
        head = self.warehouse.head(self.stream.contract)
        copy = batch.model_copy(update={"id": f"{batch.id}-again", "head_epoch": head.epoch})
        with pytest.raises(HeadMoved):
            self.commit(copy, self.stage(copy))
        discard(self.lake, copy)

    def redrive(self) -> None:
        """What is in quarantine is let in again, and refused again: nothing else changes."""
        redrive(self.lake, self.warehouse, self.stream.contract, max_attempts=3, run_id="test", at=EARLY)

    def dying_commit(self, batch: Batch, when: bool) -> AbstractContextManager[None]:
        """The process dies within the transaction."""
        return dying("millrace.warehouse.duckdb.commit", "_append_objects", when)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows; `{raw}` and `{ops}` are schemas."""
        assert isinstance(self.warehouse, DuckDBWarehouse)
        with self.warehouse._reading("test") as db:
            assert db is not None
            return db.execute(sql.format(raw="raw_shop", ops="ops")).fetchall()


def run(schedule: Schedule, place: Place) -> None:
    """All steps, then all that is left without a crash; then the warehouse equals the model."""
    for what, given in schedule.steps:
        try:
            step = getattr(place, what)
            step(given) if what in ("land", "merge") else step()
        except Crash:
            continue
    place.merge(None)
    compare(schedule, place)


def compare(schedule: Schedule, place: Place) -> None:
    """Table, ledger, quarantine and lake against the model."""
    contract, landed = schedule.stream.contract, [o for m in place.landed.values() for o in m.objects]
    found = table(place)
    if schedule.stream.overwrites:  # which rows are dead depends on what came first; which are live does not
        found = {key: (*row[:3], True, False) for key, row in found.items() if row[3]}
    assert found == model(schedule.stream, schedule.syncs)
    merged = place.query("SELECT count(*), coalesce(sum(rows_in), 0) FROM {ops}.ledger WHERE kind = 'merged'")
    assert merged == [(len(place.commits), sum(o.rows or 0 for b, _, _ in place.commits for o in b.objects))]
    assert place.query(f"SELECT epoch FROM {{ops}}.{names.head_table('shop', 'orders')}") == [(len(place.commits),)]
    merges = Counter(place.query("SELECT object, generation FROM {ops}.ledger_objects"))
    redrives = Counter(place.query("SELECT object, generation FROM {ops}.redrives"))
    assert all(count <= 1 + redrives[which] for which, count in merges.items()), "an object is merged twice"
    assert set(merges) == {(o.name, o.generation) for o in landed}
    assert [o.name for p in ("_batches/", "_staging/") for o in place.lake.list(p)] == []
    assert batches.pending(place.lake, place.warehouse, contract) == []


def table(place: Place) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The raw table as the model has it."""
    contract = place.stream.contract
    live = "coalesce(_version IS NOT NULL AND (_delete_version IS NULL OR _delete_version < _version), false)"
    keys = list(contract.key) or ["_object", "_row"]
    extra = "extra" if "extra" in place.warehouse.learned(contract) else "NULL"
    shown = ", ".join([*keys, "note", "amount", extra, live, "_delete_version IS NOT NULL"])
    rows = place.query(f"SELECT {shown} FROM {{raw}}.orders")
    found = {key_of(contract, row[: len(keys)]): row[len(keys) :] for row in rows}
    assert len(found) == len(rows), "a key has two rows"
    return found


def key_of(contract: StreamContract, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """A key; that of a stream without one is job, file and row."""
    if contract.key:
        return key
    named = FILE.search(str(key[0]))
    assert named, key
    return (int(named[1]), int(named[2]), key[1])


def die(crash: str | None, point: str) -> None:
    if crash == point:
        raise Crash(point)


@contextmanager
def dying(where: Any, function: str, when: bool) -> Iterator[None]:
    """The process dies in a function."""
    if not when:
        yield
        return
    patched = mock.patch(f"{where}.{function}") if isinstance(where, str) else mock.patch.object(where, function)
    with patched as fatal:
        fatal.side_effect = Crash(function)
        yield
