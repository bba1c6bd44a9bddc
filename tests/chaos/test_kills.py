"""Seven days of data while parts are killed at random moments: the marts of an undisturbed run, with no hand needed."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from local.stack.supervisor import answers, runs_ours
from millrace.domain.ledger import EVER
from tests.chaos.way import active_runs, marts_are_right, next_day, quietly, reconcile_every, settled, start_ingest
from tests.e2e.stack import Stack, now
from tests.support.servers import wait_until

pytestmark = pytest.mark.demo

DAYS, DAY_S = 7, (8.0, 30.0)
RUN, BOTH = "flow run", "worker with its run"
PARTS = ("prefect", "worker", "gateway", "pubsub", "storage", RUN, BOTH)
ROUNDS = 2
PAUSE_S = (3.0, 15.0)
RECOVERED_S = 120
RECONCILE_S = 30


@dataclass
class Kill:
    """One part that was killed; `back` returns True when it works again, `took_s` is 0 until it does."""

    part: str
    back: Callable[[], bool]
    run: str = ""
    at: float = field(default_factory=time.monotonic)
    took_s: float = 0.0


class Killer:
    """Kills all parts in a random order, each `ROUNDS` times, and looks when each is back."""

    def __init__(self, stack: Stack, chance: random.Random) -> None:
        self._stack, self._chance = stack, chance
        self.kills: list[Kill] = []
        self._left = list(PARTS) * ROUNDS
        chance.shuffle(self._left)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def is_done(self) -> bool:
        """Return True when every part was killed and is running again."""
        return not self._left and all(kill.took_s for kill in self.kills)

    def _run(self) -> None:
        due = time.monotonic() + self._chance.uniform(*PAUSE_S)
        while not self._stop.wait(0.2):
            for kill in self.kills:
                with quietly():
                    if not kill.took_s and kill.back():
                        kill.took_s = time.monotonic() - kill.at
            if self._left and time.monotonic() > due:
                with quietly():
                    if kill_ := self._kill(self._left[-1]):
                        self._left.pop()
                        self.kills.append(kill_)
                        print(f"{time.strftime('%H:%M:%S')} SIGKILL {kill_.part} {kill_.run}", flush=True)
                        due = time.monotonic() + self._chance.uniform(*PAUSE_S)

    def _kill(self, part: str) -> Kill | None:
        """Kill a part, if it runs: no run may be at work just now."""
        if part in (RUN, BOTH):
            return self._kill_run(part)
        pid = self._stack.pids().get(part, 0)
        if not runs_ours(pid):
            return None
        os.kill(pid, signal.SIGKILL)
        at = now()
        return Kill(part, lambda: self._is_back(part, pid, at))

    def _is_back(self, part: str, before: int, since: datetime) -> bool:
        pid, local = self._stack.pids().get(part, before), self._stack.local
        if pid == before or not runs_ours(pid):
            return False
        if part == "worker":  # the server has received its heartbeat
            workers = self._stack.http.post("/work_pools/millrace/workers/filter", json={}).raise_for_status().json()
            return any(datetime.fromisoformat(worker["last_heartbeat_time"]) > since for worker in workers)
        paths = {"prefect": "/api/health", "gateway": "/readyz"}
        return answers(local.http(part) + paths[part] if part in paths else f"tcp://{local.grpc(part)}")

    def _kill_run(self, part: str) -> Kill | None:
        """Kill the process of a run, preferably a merge; the kill is over when Prefect has ended the run.

        Its worker reports the end at once. When the worker is killed too, only missing heartbeats show it.
        """
        running = [run for run in active_runs(self._stack) if run["state_type"] == "RUNNING"]
        running.sort(key=lambda run: not str(run["name"]).startswith(("merge", "model")))
        pids = {str(run["id"]): int((run["infrastructure_pid"] or ":0").rpartition(":")[2]) for run in running}
        candidates = [run for run in running if _is_launcher(pids[str(run["id"])])]
        if not candidates:
            return None
        run_id, worker = str(candidates[0]["id"]), self._stack.pids().get("worker", 0)
        if part == BOTH:
            if not runs_ours(worker):
                return None
            os.kill(worker, signal.SIGKILL)
        os.kill(pids[run_id], signal.SIGKILL)
        return Kill(part, lambda: not self._stack.find(run_id).active, str(candidates[0]["name"]))


def _is_launcher(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return b"prefect.engine" in line.read()
    except OSError:
        return False


def test_marts_survive_seven_days_of_kills(stack: Stack, chance: random.Random) -> None:
    reconcile_every(stack, RECONCILE_S)
    with Killer(stack, chance) as killer:
        for _ in range(DAYS):
            number = next_day(stack)
            start_ingest(stack)
            time.sleep(chance.uniform(*DAY_S))  # chance decides which steps of the day are running when the next begins
        while not killer.is_done():
            start_ingest(stack)  # so that there are runs to kill
            time.sleep(chance.uniform(*DAY_S))
            late = [k for k in killer.kills if not k.took_s and time.monotonic() - k.at > RECOVERED_S]
            assert [f"{kill.part} {kill.run}" for kill in late] == []
    began = time.monotonic()
    start_ingest(stack)  # the next scheduled sync reads the rest of a killed one
    wait_until(lambda: settled(stack) and marts_are_right(stack, number), f"day {number} is right", RECOVERED_S)
    slowest = {part: 0.0 for part in PARTS}
    for kill in killer.kills:
        slowest[kill.part] = max(slowest[kill.part], kill.took_s)
        print(f"{kill.part} {kill.run}: back after {kill.took_s:.1f} s")
    print(f"{len(killer.kills)} kills; slowest: " + ", ".join(f"{part} {took:.0f} s" for part, took in slowest.items()))
    print(f"marts of day {number} right {time.monotonic() - began:.0f} s after the end of the kills")
    assert set(slowest.values()).isdisjoint({0.0})
    assert max(slowest.values()) < RECOVERED_S
    ledger = stack.platform.warehouse.ledger(EVER, kinds=["merged"])
    assert max(Counter(entry.batch_id for entry in ledger).values()) == 1, "a batch was merged twice"
