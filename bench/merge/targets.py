"""Tables before the batch: each made once by the peer itself, and copied for each run."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import duckdb

from bench.merge.files import data_files, fingerprint
from bench.merge.job import Job, Workspace
from bench.merge.landing import land, land_target
from bench.merge.peers import ROOT, Runner
from bench.merge.workload import Batch, Target

BATCH_JOB = 1000  # after all jobs of the table's rows


class PeerFailed(Exception):
    """A peer's process failed; the message has its output."""


def make_workspace(cache: Path, runner: Runner, batch: Batch, key: Sequence[str], folder: Path) -> Workspace:
    """A fresh copy of the table, with the batch landed beside it."""
    files = data_files(cache / "data", batch)
    prepared = prepare(cache, runner, Target(batch.target), key)
    shutil.copytree(prepared, folder)
    landed = land(folder, files, BATCH_JOB)
    os.sync()  # writing the copy to the disk is not the peer's work
    return Workspace(str(folder), tuple(str(path) for path in landed), tuple(key))


def prepare(cache: Path, runner: Runner, target: Target, key: Sequence[str]) -> Path:
    """The folder with the table; made when the cache lacks it, or what makes it has changed.

    Raises:
        PeerFailed: with the end of what its process said.
    """
    files = data_files(cache / "data", target)
    known_as = f"{runner.table}-{target.rows}-{'-'.join(key)}-"
    made_by = fingerprint(runner.sources, files[0].parent.name, duckdb.__version__)
    folder = cache / "targets" / f"{known_as}{made_by}"
    if folder.exists():
        return folder
    for older in folder.parent.glob(f"{known_as}*"):
        shutil.rmtree(older)
    print(f"making the table of {target.rows:,} rows for {runner.table}", flush=True)
    partly = folder.with_name(f"{known_as}part")
    land_target(partly, files)
    landed = tuple(str(path) for path in sorted((partly / "lake" / "raw").rglob("*.parquet")))
    run(runner, Job(runner.module, Workspace(str(partly), landed, tuple(key))))
    shutil.rmtree(partly / "lake")
    return partly.rename(folder)


def run(runner: Runner, job: Job) -> None:
    """Run a peer's process, not measured."""
    path = job.write(Path(job.workspace.folder) / "job.json")
    command = [runner.python, "-m", "bench.merge.process", str(path)]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if completed.returncode:
        raise PeerFailed(f"{runner.name} could not make its table:\n{(completed.stdout + completed.stderr)[-4000:]}")
    path.unlink()
