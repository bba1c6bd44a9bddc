"""Builds candidates of the marts with dbt, where no reader looks."""

import hashlib
import tempfile
from pathlib import Path

from prefect import task

from contracts.model import ModelWork
from contracts.source import load_sources
from tasks.dbt import invoke_dbt
from tasks.place import open_warehouse
from tasks.retries import DELAYS_S, is_transient
from tasks.run_id import run_id
from tasks.source import SOURCES


@task(task_run_name="build candidates", retries=2, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient)
def build_candidates(work: ModelWork) -> str:
    """Run `dbt build`, tests included; returns the candidate's name, the same for the same run and work.

    Raises:
        WarehouseBusy: a writer holds the warehouse.
    """
    candidate = candidate_name(run_id(), work)
    warehouse = open_warehouse()
    for source in load_sources(SOURCES).values():
        for stream in source.streams.values():
            warehouse.ensure(stream)  # a stream that has not landed yet is an empty table, not a missing one
    with tempfile.TemporaryDirectory() as target, warehouse.reader(f"dbt build for {candidate}"):
        invoke_dbt(["build"], warehouse.dbt_environment(candidate), Path(target))
    return candidate


def candidate_name(run: str, work: ModelWork) -> str:
    """Name of what one run builds from one piece of work."""
    digest = hashlib.sha256(f"{run} {work.batches}".encode()).hexdigest()
    return f"candidate_{digest[:16]}"
