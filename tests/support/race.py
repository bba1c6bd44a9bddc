"""Several workers that merge one stream at once, in virtual time: each operation takes a while, and none waits for it.

One worker runs at a time: the one whose operation ends first. So a schedule follows from its seed alone, and a race of
a minute takes a fraction of a second.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import duckdb

from beam_job.batches import Limits, pending
from beam_job.merge import merge_stream
from millrace.domain.errors import Retryable
from tests.support.in_process import MemoryWarehouse
from tests.support.oracle import EARLY, Stream, Sync, model
from tests.support.schedules import CAP, Place, table

LATENCY_S = (0.015, 0.060)
PAUSE_S, PAUSES = 1.0, 0.02  # now and then a process stands still
MOST_TRIES = 20


class VirtualTime:
    """Lets the one of several threads run whose turn comes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[int, float] = {}

    def begin(self, worker: int, at: float) -> None:
        """Announce a worker, before its thread starts."""
        self._due[worker] = at

    def pass_time(self, worker: int, seconds: float) -> None:
        """Let a worker's time pass, and others run meanwhile."""
        with self._changed:
            self._due[worker] += seconds
            self._changed.notify_all()
            self._changed.wait_for(lambda: min(self._due, key=lambda w: (self._due[w], w)) == worker)

    def end(self, worker: int) -> None:
        """A worker is done."""
        with self._changed:
            del self._due[worker]
            self._changed.notify_all()


@dataclass
class Worker:
    """One process that merges: its lake and its warehouse take time, as they would on Google Cloud."""

    number: int
    time: VirtualTime
    random: random.Random
    results: Counter[str] = field(default_factory=Counter)
    error: BaseException | None = None

    def take(self) -> None:
        """Half of what an operation takes: one half goes by before it has its effect, one after it."""
        pause = PAUSE_S if self.random.random() < PAUSES else 0.0
        self.time.pass_time(self.number, self.random.uniform(*LATENCY_S) / 2 + pause)

    def run(self, act: Callable[[], object]) -> None:
        """Merge until it works; another worker may win, but nothing else may go wrong."""
        try:
            self.take()
            for _ in range(MOST_TRIES):
                try:
                    act()
                    self.results["merged"] += 1
                    return
                except Retryable as error:
                    self.results[type(error).__name__] += 1
            raise AssertionError(f"a worker did not come to an end: {self.results}")
        except BaseException as error:
            self.error = error
        finally:
            self.time.end(self.number)


class SlowLake:
    """A lake of which each operation takes time."""

    def __init__(self, lake: Any, worker: Worker) -> None:
        self._lake, self._worker = lake, worker

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._lake, name)
        if not callable(found):
            return found

        def call(*given: Any, **named: Any) -> Any:
            self._worker.take()
            result = list(found(*given, **named)) if name == "list" else found(*given, **named)
            self._worker.take()
            return iter(result) if name == "list" else result

        return call


class SlowWarehouse(MemoryWarehouse):
    """A worker's own connection to the warehouse: its transactions take time, and are one after the other."""

    def __init__(self, warehouse: MemoryWarehouse, worker: Worker) -> None:
        super().__init__(warehouse)
        self._worker = worker

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self._worker.take()
        with super().connection() as db:
            yield db
        self._worker.take()


@dataclass(frozen=True)
class Race:
    """A stream's history, of which so many syncs land before so many workers merge at once, and so on."""

    stream: Stream
    syncs: list[Sync]
    rounds: list[tuple[int, int]]
    max_files: int
    seed: int


def run_race(race: Race) -> Counter[str]:
    """Run a race and compare the warehouse with the model; returns how often each thing happened to a worker."""
    place, results = Place(race.stream, race.max_files), Counter[str]()
    waiting = list(race.syncs)
    try:
        for number, (lands, workers) in enumerate(race.rounds):
            for _ in range(min(lands, len(waiting))):
                place.land(waiting.pop(0))
            results += _merge_at_once(place, workers, f"{race.seed}-{number}")
        for sync in waiting:
            place.land(sync)
        results += _merge_at_once(place, 1, "last")
        _compare(race, place)
    finally:
        place.warehouse.close()
    return results


def _merge_at_once(place: Place, workers: int, seed: str) -> Counter[str]:
    time = VirtualTime()
    team = [Worker(n, time, random.Random(f"{seed}-{n}")) for n in range(workers)]
    for worker in team:
        time.begin(worker.number, worker.random.uniform(0, 0.6))
    threads = [threading.Thread(target=worker.run, args=(_merging(place, worker),)) for worker in team]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in team:
        if worker.error:
            raise worker.error
    return sum((worker.results for worker in team), Counter[str]())


def _merging(place: Place, worker: Worker) -> Callable[[], object]:
    assert isinstance(place.warehouse, MemoryWarehouse)
    lake: Any = SlowLake(place.lake, worker)
    warehouse, limits = SlowWarehouse(place.warehouse, worker), Limits(CAP, place.max_files)
    return lambda: merge_stream(
        lake,
        warehouse,
        None,
        place.stream.contract,
        limits=limits,
        run_id=f"worker-{worker.number}",
        clock=lambda: EARLY,
    )


def _compare(race: Race, place: Place) -> None:
    """Table, ledger and lake against the model: nothing lost, nothing merged twice, nothing left behind."""
    found = table(place)
    if race.stream.overwrites:
        found = {key: (*row[:3], True, False) for key, row in found.items() if row[3]}
    assert found == model(race.stream, race.syncs)
    landed = sorted((o.name, o.generation) for m in place.landed.values() for o in m.objects)
    assert place.query("SELECT object, generation FROM {ops}.ledger_objects ORDER BY ALL") == landed
    rows = sum(len(file.rows) for sync in race.syncs for file in sync.files)
    counted = place.query("SELECT coalesce(sum(rows_in), 0)::BIGINT FROM {ops}.ledger WHERE kind = 'merged'")
    assert counted == [(rows,)]
    assert [o.name for p in ("_batches/", "_staging/") for o in place.lake.list(p)] == []
    assert pending(place.lake, place.warehouse, place.stream.contract) == []
