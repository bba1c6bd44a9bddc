"""The peers: which module is run by which Python, and where it leaves the table."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.merge import environment
from bench.merge.landing import SOURCE, STREAM
from bench.merge.table import RELATION
from millrace.domain import names

ROOT = Path(__file__).resolve().parents[2]
OURS, RAW, DEFAULT, DLT, ELEMENT = "ours", "raw", "default", "dlt", "element"
TITLES = {
    OURS: "ours",
    RAW: "raw DuckDB, tuned",
    DEFAULT: "raw DuckDB, default settings",
    DLT: "dlt",
    ELEMENT: "element-wise Beam",
}
LIVE = f"{names.raw_schema(SOURCE)}.{names.live_view(STREAM)}"


@dataclass(frozen=True)
class Runner:
    """The module that runs a peer; `table` names the kind of its table, `sources` are the files that determine it."""

    name: str
    module: str
    relation: str
    table: str
    sources: tuple[Path, ...]
    python: str = sys.executable


def find_runners(cache: Path, names: Iterable[str]) -> dict[str, Runner]:
    """The wanted peers that can be run; says why one can't."""
    runners = {name: RUNNERS[name] for name in RUNNERS if name in set(names)}
    if DLT in runners:
        try:
            runners[DLT] = replace(runners[DLT], python=environment.make(cache / "dlt"))
        except environment.NotInstalled as error:
            print(f"skipped {TITLES[DLT]}: {error}", flush=True)
            del runners[DLT]
    return runners


def _sources(*patterns: str) -> tuple[Path, ...]:
    shared = ("bench/merge/landing.py", "bench/merge/table.py")
    return tuple(path for pattern in (*patterns, *shared) for path in sorted(ROOT.glob(pattern)))


RUNNERS = {
    OURS: Runner(
        OURS,
        "bench.merge.ours",
        LIVE,
        OURS,
        _sources("beam_job/**/*.py", "millrace/**/*.py", "bench/merge/ours.py"),
    ),
    RAW: Runner(RAW, "bench.merge.raw", RELATION, RAW, _sources("bench/merge/raw.py")),
    DEFAULT: Runner(DEFAULT, "bench.merge.raw_default", RELATION, RAW, _sources("bench/merge/raw.py")),
    DLT: Runner(
        DLT, "bench.merge.dlt_peer", RELATION, DLT, _sources("bench/merge/dlt_peer.py", "bench/merge/environment.py")
    ),
    ELEMENT: Runner(ELEMENT, "bench.merge.elementwise", RELATION, RAW, _sources("bench/merge/raw.py")),
}
