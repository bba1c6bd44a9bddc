"""Measures a model run of a large project beside raw dbt: `python -m bench.model_size --models 400 --tests 1500`.

One of the generated project's streams has changed. Both build the same models and tests in a process of their own,
after a run that parsed the project: dbt with its partial parsing, the platform with the manifest from the lake, and
with a Prefect server that it reports to. Imports are not in the seconds of CPU; all is in the peak of memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from prefect import flow
from prefect.settings import PREFECT_API_URL

from bench.generated_project import Size, write_project
from millrace.lake.open import open_lake
from tasks.model import dbt
from tests.support.harness import harness
from tests.support.servers import ROOT, server

BUCKET = "generated"
KINDS = ("raw dbt", "platform")
BUILD = ["build", "--select", "source:shop.s0+"]


def main() -> int:
    """Print both, run by run in turns, and their ratios."""
    parser = argparse.ArgumentParser(prog="python -m bench.model_size", description=__doc__)
    parser.add_argument("--models", type=int, default=400, help="models of the project (400)")
    parser.add_argument("--tests", type=int, help="tests of it (3.75 for each model)")
    parser.add_argument("--affected", type=int, default=40, help="models downstream of the changed stream (40)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each kind (3)")
    parser.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measured(options.measure)))
        return 0
    tests = options.models * 15 // 4 if options.tests is None else options.tests
    size = Size(options.models, tests, options.affected)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        print(_report(size, _compare(Path(folder), size, options.runs)))
    return 0


def _compare(folder: Path, size: Size, runs: int) -> dict[str, list[dict[str, float]]]:
    """Return the CPU seconds and the peak in MB of each run, without the first of each kind, which parses."""
    write_project(folder, size)
    with server("storage", folder / "storage") as port, harness():
        endpoint = f"http://127.0.0.1:{port}"
        client = storage.Client("bench", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint})
        client.bucket(BUCKET).create()
        own = {"MILLRACE_PROJECT": str(folder), "BENCH_LAKE": endpoint, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
        measured: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        for kind in KINDS * (runs + 1):
            command = [sys.executable, "-m", "bench.model_size", "--measure", kind]
            ended = subprocess.run(command, cwd=ROOT, env=os.environ | own, stdout=subprocess.PIPE, check=True)
            measured[kind].append(json.loads(ended.stdout.splitlines()[-1]))
    return {kind: of_kind[1:] for kind, of_kind in measured.items()}


def _measured(kind: str) -> dict[str, float]:
    """Build in this process, whose project is generated."""
    folder = Path(os.environ["MILLRACE_PROJECT"])
    build = _by_dbt(folder) if kind == "raw dbt" else _by_platform(folder)
    before = _cpu_s()
    build()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu_s": _cpu_s() - before, "peak_mb": peak / 1024}


def _by_dbt(folder: Path) -> Callable[[], None]:
    from dbt.cli.main import dbtRunner

    places = ["--project-dir", f"{folder}/dbt_project", "--profiles-dir", f"{folder}/dbt_project"]
    places += ["--target-path", f"{folder}/target", "--log-path", f"{folder}/target"]

    def build() -> None:
        with dbt.dbt_variables(_environment(folder, "raw")):
            result = dbtRunner().invoke(["--quiet", *BUILD, *places])
        if not result.success:
            raise RuntimeError(f"dbt failed: {result.exception or result.result}")

    return build


def _by_platform(folder: Path) -> Callable[[], None]:
    import tasks.model.dbt_runner  # costs seconds, as the import of dbt above
    import tasks.model.parse  # noqa: F401

    lake = open_lake(f"gs://{BUCKET}", os.environ["BENCH_LAKE"])
    mock.patch.object(dbt, "open_lake", return_value=lake).start()  # as no block is registered
    candidate = f"candidate_{uuid.uuid4().hex[:16]}"
    target = folder / candidate
    target.mkdir()

    @flow
    def model() -> None:
        dbt.invoke_dbt(BUILD, {**_environment(folder, candidate), dbt.CANDIDATE: candidate}, target)

    return model


def _environment(folder: Path, candidate: str) -> dict[str, str]:
    return {
        "MILLRACE_DBT_TARGET": "duckdb",
        "MILLRACE_CANDIDATE_PATH": f"{folder}/{candidate}.duckdb",
        "MILLRACE_WAREHOUSE_PATH": f"{folder}/warehouse.duckdb",
    }


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _report(size: Size, measured: dict[str, list[dict[str, float]]]) -> str:
    """Return medians and ratios as a table of Markdown."""
    medians = {
        kind: [statistics.median(run[figure] for run in runs) for figure in ("cpu_s", "peak_mb")]
        for kind, runs in measured.items()
    }
    raw, own = medians.values()
    title = f"{size.models} models, {size.tests} tests; one of {size.streams} streams changed"
    lines = [f"| {title} | CPU, s | peak memory, MB |", "|---|---|---|"]
    lines += [f"| {kind} | {cpu:.2f} | {peak:.0f} |" for kind, (cpu, peak) in medians.items()]
    return "\n".join([*lines, f"| ratio | {own[0] / raw[0]:.2f} × | {own[1] / raw[1]:.2f} × |"])


if __name__ == "__main__":
    sys.exit(main())
