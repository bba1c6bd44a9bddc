"""Several workers that merge one stream at once, in virtual time: each operation has a duration, and no test waits.

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

from beam_job.batches import Limits
from beam_job.merge import merge_stream
from millrace.domain.errors import Retryable
from millrace.warehouse.port import Warehouse
from tests.support.comparison import compare_rows
from tests.support.deaths import Death, MortalWarehouse
from tests.support.mortal import Killed, MortalLake
from tests.support.oracle import EARLY, Stream, Sync
from tests.support.schedules import CAP, System

LATENCY_S = (0.015, 0.060)
PAUSE_S, PAUSES = 1.0, 0.02  # occasionally a process pauses
MOST_TRIES = 20


class VirtualTime:
    """A scheduler of threads that lets the thread with the earliest time run."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[int, float] = {}

    def begin(self, worker: int, at: float) -> None:
        """Register a worker before its thread starts."""
        self._due[worker] = at

    def pass_time(self, worker: int, seconds: float) -> None:
        """Advance a worker's time, and let others run meanwhile."""
        with self._changed:
            self._due[worker] += seconds
            self._changed.notify_all()
            self._changed.wait_for(lambda: min(self._due, key=lambda w: (self._due[w], w)) == worker)

    def end(self, worker: int) -> None:
        """Unregister a worker."""
        with self._changed:
            del self._due[worker]
            self._changed.notify_all()


@dataclass
class Worker:
    """One merging process whose lake and warehouse take time, as they do on Google Cloud, and that may die."""

    number: int
    time: VirtualTime
    random: random.Random
    death: Death
    results: Counter[str] = field(default_factory=Counter)
    error: BaseException | None = None

    def take(self) -> None:
        """Spend half of an operation's duration: one half passes before its effect, one after it."""
        pause = PAUSE_S if self.random.random() < PAUSES else 0.0
        self.time.pass_time(self.number, self.random.uniform(*LATENCY_S) / 2 + pause)

    def run(self, act: Callable[[], object]) -> None:
        """Merge until it succeeds or dies; losing to another worker is the only error allowed."""
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
        except Killed:
            self.results["died"] += 1
        except BaseException as error:
            self.error = error
        finally:
            self.time.end(self.number)


class SlowLake:
    """A lake whose operations take time."""

    def __init__(self, lake: Any, worker: Worker) -> None:
        self._lake, self._worker = lake, worker

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._lake, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            self._worker.take()
            result = list(attribute(*arguments, **options)) if name == "list" else attribute(*arguments, **options)
            self._worker.take()
            return iter(result) if name == "list" else result

        return call


class SlowWarehouse(MortalWarehouse):
    """A worker's connection to the warehouse: transactions take time and are serialized."""

    def __init__(self, warehouse: Warehouse, worker: Worker) -> None:
        super().__init__(warehouse, worker.death)
        self._worker = worker

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self._worker.take()
        with super().connection() as db:
            yield db
        self._worker.take()


@dataclass(frozen=True)
class Race:
    """A stream's history in rounds: in each, some syncs land, and some workers merge them at once.

    The first worker of a round dies at the given operation, if there is one: the others go on.
    """

    stream: Stream
    syncs: list[Sync]
    rounds: list[tuple[int, int, int | None]]
    max_files: int
    seed: int


def run_race(race: Race) -> Counter[str]:
    """Run a race, compare the warehouse with the model, and return how often each outcome occurred."""
    system, results = System(race.stream, race.max_files), Counter[str]()
    waiting = list(race.syncs)
    try:
        for number, (lands, workers, end) in enumerate(race.rounds):
            for _ in range(min(lands, len(waiting))):
                system.land(waiting.pop(0))
            results += _merge_at_once(system, workers, f"{race.seed}-{number}", end)
        for sync in waiting:
            system.land(sync)
        results += _merge_at_once(system, 1, "last")
        _compare(system, results)
    finally:
        system.warehouse.close()
    return results


def _merge_at_once(system: System, workers: int, seed: str, end: int | None = None) -> Counter[str]:
    time = VirtualTime()
    ends = [end, None, None][:workers]
    team = [Worker(n, time, random.Random(f"{seed}-{n}"), Death(end)) for n, end in enumerate(ends)]
    for worker in team:
        time.begin(worker.number, worker.random.uniform(0, 0.6))
    threads = [threading.Thread(target=worker.run, args=(_merging(system, worker),)) for worker in team]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in team:
        if worker.error:
            raise worker.error
    return sum((worker.results for worker in team), Counter[str]())


def _merging(system: System, worker: Worker) -> Callable[[], object]:
    lake: Any = SlowLake(MortalLake(system.lake, worker.death), worker)
    warehouse, limits = SlowWarehouse(system.warehouse, worker), Limits(CAP, system.max_files)
    return lambda: merge_stream(
        lake,
        warehouse,
        None,
        system.stream.contract,
        limits=limits,
        run_id=f"worker-{worker.number}",
        clock=lambda: EARLY,
    )


def _compare(system: System, results: Counter[str]) -> None:
    """Compare table, ledger and lake with the model: nothing is lost, merged twice or left behind.

    A dead worker may leave staging files of a batch that another one closed; the bucket's lifecycle rule deletes them.
    """
    compare_rows(system, ("_batches/",) if results["died"] else ("_batches/", "_staging/"))
    landed = sorted((o.name, o.generation) for o in system.landed())
    assert system.query("SELECT object, generation FROM {ops}.ledger_objects ORDER BY ALL") == landed
    rows = sum(len(file.rows) for sync in system.syncs.values() for file in sync.files)
    counted = system.query("SELECT coalesce(sum(rows_in), 0)::BIGINT FROM {ops}.ledger WHERE kind = 'merged'")
    assert counted == [(rows,)]
