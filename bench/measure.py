"""Runs a command and measures it whole: wall time, CPU time and peak memory of it and all processes it started."""

import resource
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_S = 1.0


@dataclass(frozen=True)
class Measured:
    """A command's cost: seconds of wall and CPU time, peak memory in bytes; and its output."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    output: str
    code: int


def measure(command: Sequence[str], cwd: Path, sample_s: float = SAMPLE_S) -> Measured:
    """Run a command to its end, and look at its processes every `sample_s` seconds.

    Memory is the sum of proportional set sizes where the system has them (forks share pages), else of resident sizes.
    CPU time is the larger of two figures: the last samples of its processes, which miss the end of each, and the
    system's total of awaited children, which misses detached ones.
    """
    began, cpu_before = time.monotonic(), _children_cpu_s()
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        sampler = _Sampler(process.pid, sample_s)
        sampler.start()
        output, _ = process.communicate()
        sampler.ended.set()
        sampler.join()
    cpu_s = max(sum(sampler.cpu.values()), _children_cpu_s() - cpu_before)
    return Measured(time.monotonic() - began, cpu_s, sampler.peak, output, process.returncode)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Sampler(threading.Thread):
    def __init__(self, pid: int, sample_s: float) -> None:
        super().__init__(daemon=True)
        self._sample_s = sample_s
        self._root, self.ended = psutil.Process(pid), threading.Event()
        self.cpu: dict[tuple[int, float], float] = {}
        self.peak = 0

    def run(self) -> None:
        """Look at all processes again and again."""
        while not self.ended.wait(self._sample_s):
            try:
                processes = [self._root, *self._root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            self.peak = max(self.peak, sum(self._look(process) for process in processes))

    def _look(self, process: psutil.Process) -> int:
        try:
            with process.oneshot():
                times = process.cpu_times()
                self.cpu[process.pid, process.create_time()] = times.user + times.system
                memory = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            return 0
        return int(getattr(memory, "pss", 0) or memory.rss)
