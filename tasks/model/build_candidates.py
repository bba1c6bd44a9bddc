"""Builds candidates of the marts with dbt, where no reader looks."""

import hashlib
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from prefect import task

from millrace.contracts.source import load_sources
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.model import KINDS, Built, ModelWork, unpublished
from millrace.warehouse.port import Warehouse
from tasks.context import SOURCES, open_warehouse, run_id
from tasks.model.check_merges import check_merges
from tasks.model.dbt import PROJECT, build_arguments, built_marts, invoke_dbt, project_digest
from tasks.model.quality_results import keep_results
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="build candidates",
    tags=[names.STEP_TAG],
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_key_fn=lambda _, given: candidate_name(run_id(), given["work"], project_digest(PROJECT)),
)
def build_candidates(work: ModelWork) -> Built:
    """Check the merged rows, then run `dbt build` on all that they affect, tests included.

    What was merged since the work was found is taken too: all tables are read as they are at one moment. The candidate
    has the same name for the same run, work and dbt project, and is begun anew.

    Raises:
        WarehouseBusy: a writer holds the warehouse.
        QualityFailed: the merged rows break an expectation of severity `stop`; nothing was built.
    """
    candidate = candidate_name(run_id(), work, project_digest(PROJECT))
    warehouse = open_warehouse()
    streams = {stream.id: stream for source in load_sources(SOURCES).values() for stream in source.streams.values()}
    for stream in streams.values():
        warehouse.ensure(stream)  # a stream that has not landed yet is an empty table, not a missing one
    with warehouse.reader(f"dbt build for {candidate}") as as_of:
        taken = work.joined(unpublished(warehouse.ledger(kinds=KINDS, as_of=as_of)))
        report = check_merges(warehouse, streams, taken, as_of)
        marts = _build(warehouse, streams, candidate, taken, as_of) if report.passed else ()
    keep_results(warehouse, report, candidate, "quality-of-merged-rows")
    return Built(candidate=candidate, work=taken, marts=marts)


def _build(
    warehouse: Warehouse,
    streams: Mapping[str, StreamContract],
    candidate: str,
    work: ModelWork,
    as_of: datetime | None,
) -> tuple[str, ...]:
    whole = work.whole or not warehouse.marts()
    warehouse.begin(candidate, empty=whole)
    arguments = build_arguments(whole, _changed(warehouse, streams, work))
    if not arguments:
        return ()
    environment = warehouse.dbt_environment(candidate) | {"MILLRACE_AS_OF": as_of.isoformat() if as_of else ""}
    with tempfile.TemporaryDirectory() as target:
        invoke_dbt(arguments, environment, Path(target))
        return built_marts(Path(target))


def _changed(
    warehouse: Warehouse, streams: Mapping[str, StreamContract], work: ModelWork
) -> dict[str, list[str] | None]:
    """Days in which rows of each stream changed; no model reads a stream whose contract is gone."""
    known = [stream for stream in work.streams if stream in streams]
    return {stream: warehouse.touched_days(streams[stream], work.batches) for stream in known}


def candidate_name(run: str, work: ModelWork, project: str) -> str:
    """Name of what one run builds from one piece of work with one state of the dbt project."""
    digest = hashlib.sha256(f"{run} {work.batches} {project}".encode()).hexdigest()
    return f"candidate_{digest[:16]}"
