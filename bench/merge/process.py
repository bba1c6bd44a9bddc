"""A peer's process: `python -m bench.merge.process JOB`; prints the merge's cost. Standard library only."""

import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import cast

from bench.merge.job import Peer, read_job

MARK = "measured: "


def cpu_s() -> float:
    """CPU seconds of this process, and of those of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def peak_bytes() -> int:
    """Most memory that this process had at once; `ru_maxrss` would count that of the process that started it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main(path: str) -> int:
    """Prepare; or merge the small workspace, which triggers late imports, and then the workspace, measured."""
    job = read_job(path)
    peer = cast(Peer, importlib.import_module(job.module))
    if job.warm_up is None:
        peer.prepare(job.workspace)
        return 0
    peer.merge(job.warm_up)
    cpu, wall = cpu_s(), time.perf_counter()
    peer.merge(job.workspace)
    taken = {"cpu_s": cpu_s() - cpu, "wall_s": time.perf_counter() - wall, "peak_bytes": peak_bytes()}
    print(MARK + json.dumps(taken), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
