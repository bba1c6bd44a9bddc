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
    """The death of the process at this point."""


@dataclass(frozen=True)
class Schedule:
    """A stream's history, and its steps in order: land a sync, merge (until a crash), rival, replay."""

    stream: Stream
    syncs: list[Sync]
    steps: list[tuple[str, Any]]
    max_files: int


@st.composite
def schedules(draw: st.DrawFn, stream: Stream) -> Schedule:
    """Generate schedules: syncs land in any order, with merges, crashes, rivals and replays between them."""
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
class System:
    """One stream's lake and warehouse, and the batches that were committed to it."""

    stream: Stream
    max_files: int
    lake: Lake = field(default_factory=MemoryLake)
    warehouse: Warehouse = field(default_factory=MemoryWarehouse)
    landed: dict[str, LandingManifest] = field(default_factory=dict)
    commits: list[tuple[Batch, Staged, Balance]] = field(default_factory=list)

    def land(self, sync: Sync) -> None:
        """Write one sync's objects and its manifest."""
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
        """Merge everything pending, as `merge_stream` does, until the crash."""
        for _ in range(MOST_BATCHES):
            limits = Limits(CAP, self.max_files, plain_max_bytes=0)
            batch = open_batch(self.lake, self.warehouse, self.stream.contract, limits=limits, now=EARLY)
            if batch is None:
                return
            crash_at(crash, "opened")
            staged = self.stage(batch, crash)
            crash_at(crash, "staged")
            self.commit(batch, staged, crash)
            crash_at(crash, "committed")
            with crashing(self.lake, "delete", crash == "half closed"):
                close_batch(self.lake, batch)
        raise AssertionError(f"more than {MOST_BATCHES} batches: what is merged is merged again")

    def stage(self, batch: Batch, crash: str | None = None) -> Staged:
        with crashing("beam_job.engines.plain", "write_winners", crash == "half staged"):
            return stage_plainly(self.lake, self.stream.contract, batch)

    def commit(self, batch: Batch, staged: Staged, crash: str | None = None) -> None:
        with self.crashing_commit(batch, crash == "committing"):
            balance = commit_batch(
                self.lake, self.warehouse, self.stream.contract, batch, staged, run_id="test", at=EARLY
            )
        if batch.id not in {b.id for b, _, _ in self.commits}:
            assert batch.head_epoch == len(self.commits), "two batches were committed at one epoch of the head"
            self.commits.append((batch, staged, balance))

    def rival(self) -> None:
        """Let two committers open different batches at one head: exactly one wins."""
        contract = self.stream.contract
        self.warehouse.ensure(contract)
        head = self.warehouse.head(contract)
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

    def replay(self) -> None:
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

    def redrive(self) -> None:
        """Redrive the quarantine: the same rows are quarantined again, and nothing else changes."""
        redrive(self.lake, self.warehouse, self.stream.contract, max_attempts=3, run_id="test", at=EARLY)

    def crashing_commit(self, batch: Batch, when: bool) -> AbstractContextManager[None]:
        """Crash within the transaction."""
        return crashing("millrace.warehouse.duckdb.commit", "_append_objects", when)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows; `{raw}` and `{ops}` are schemas."""
        assert isinstance(self.warehouse, DuckDBWarehouse)
        with self.warehouse._reading("test") as db:
            assert db is not None
            return db.execute(sql.format(raw="raw_shop", ops="ops")).fetchall()


def run(schedule: Schedule, system: System) -> None:
    """Run all steps, merge the rest without a crash, and compare the warehouse with the model."""
    for step_name, argument in schedule.steps:
        try:
            step = getattr(system, step_name)
            step(argument) if step_name in ("land", "merge") else step()
        except Crash:
            continue
    system.merge(None)
    compare(schedule, system)


def compare(schedule: Schedule, system: System) -> None:
    """Compare table, ledger, quarantine and lake with the model."""
    contract, landed = schedule.stream.contract, [o for m in system.landed.values() for o in m.objects]
    rows_of_table = table(system)
    if schedule.stream.overwrites:  # the set of dead rows depends on the order of arrival, that of live rows does not
        rows_of_table = {key: (*row[:3], True, False) for key, row in rows_of_table.items() if row[3]}
    assert rows_of_table == model(schedule.stream, schedule.syncs)
    merged = system.query("SELECT count(*), coalesce(sum(rows_in), 0) FROM {ops}.ledger WHERE kind = 'merged'")
    assert merged == [(len(system.commits), sum(o.rows or 0 for b, _, _ in system.commits for o in b.objects))]
    assert system.query(f"SELECT epoch FROM {{ops}}.{names.head_table('shop', 'orders')}") == [(len(system.commits),)]
    merges = Counter(system.query("SELECT object, generation FROM {ops}.ledger_objects"))
    redrives = Counter(system.query("SELECT object, generation FROM {ops}.redrives"))
    assert all(count <= 1 + redrives[which] for which, count in merges.items()), "an object is merged twice"
    assert set(merges) == {(o.name, o.generation) for o in landed}
    assert [o.name for p in ("_batches/", "_staging/") for o in system.lake.list(p)] == []
    assert batches.pending(system.lake, system.warehouse, contract) == []


def table(system: System) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return the raw table in the model's form."""
    contract = system.stream.contract
    live = "coalesce(_version IS NOT NULL AND (_delete_version IS NULL OR _delete_version < _version), false)"
    keys = list(contract.key) or ["_object", "_row"]
    extra = "extra" if "extra" in system.warehouse.evolved_columns(contract) else "NULL"
    shown = ", ".join([*keys, "note", "amount", extra, live, "_delete_version IS NOT NULL"])
    rows = system.query(f"SELECT {shown} FROM {{raw}}.orders")
    registers = {key_of(contract, row[: len(keys)]): row[len(keys) :] for row in rows}
    assert len(registers) == len(rows), "a key has two rows"
    return registers


def key_of(contract: StreamContract, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row's key; in a stream without one it is job, file and row."""
    if contract.key:
        return key
    named = FILE.search(str(key[0]))
    assert named, key
    return (int(named[1]), int(named[2]), key[1])


def crash_at(crash: str | None, point: str) -> None:
    if crash == point:
        raise Crash(point)


@contextmanager
def crashing(where: Any, function: str, when: bool) -> Iterator[None]:
    """Crash within a function."""
    if not when:
        yield
        return
    patched = mock.patch(f"{where}.{function}") if isinstance(where, str) else mock.patch.object(where, function)
    with patched as fatal:
        fatal.side_effect = Crash(function)
        yield
