"""Builds candidates of the marts with dbt, where no reader looks."""

import hashlib
import tempfile
from pathlib import Path

from prefect import task

from contracts.model import ModelWork
from contracts.source import load_sources
from tasks.dbt import PROJECT, invoke_dbt, project_digest
from tasks.place import open_warehouse
from tasks.retries import DELAYS_S, is_transient
from tasks.run_id import run_id
from tasks.source import SOURCES


@task(task_run_name="build candidates", retries=2, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient,
      cache_key_fn=lambda _, given: candidate_name(run_id(), given["work"], project_digest(PROJECT)))  # fmt: skip
def build_candidates(work: ModelWork) -> str:
    """Run `dbt build`, tests included; returns the candidate's name, the same for the same run, work and dbt project.

    Raises:
        WarehouseBusy: a writer holds the warehouse.
    """
    candidate = candidate_name(run_id(), work, project_digest(PROJECT))
    warehouse = open_warehouse()
    for source in load_sources(SOURCES).values():
        for stream in source.streams.values():
            warehouse.ensure(stream)  # a stream that has not landed yet is an empty table, not a missing one
    with tempfile.TemporaryDirectory() as target, warehouse.reader(f"dbt build for {candidate}"):
        invoke_dbt(["build"], warehouse.dbt_environment(candidate), Path(target))
    return candidate


def candidate_name(run: str, work: ModelWork, project: str) -> str:
    """Name of what one run builds from one piece of work with one state of the dbt project."""
    digest = hashlib.sha256(f"{run} {work.batches} {project}".encode()).hexdigest()
    return f"candidate_{digest[:16]}"
