"""Builds candidates of the marts with dbt, in a schema without readers."""

import hashlib
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from millrace.contracts.source import load_sources
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.model import KINDS, BuiltCandidate, ModelWork, unpublished_work
from millrace.warehouse.port import Warehouse
from tasks.context import SOURCES, open_warehouse, run_id
from tasks.model.check_merges import check_merges
from tasks.model.dbt import PROJECT, build_arguments, built_marts, invoke_dbt, project_digest
from tasks.model.quality_results import record_results
from tasks.retries import transient_task


@transient_task(
    task_run_name="build candidates",
    tags=[names.STEP_TAG],
    retries=2,
    cache_key_fn=lambda _, arguments: candidate_name(run_id(), arguments["work"], project_digest(PROJECT)),
)
def build_candidates(work: ModelWork) -> BuiltCandidate:
    """Check the merged rows, then run `dbt build` on all models that they affect, tests included.

    The build reads a consistent snapshot of all tables, so it includes merges since the work was found. The candidate
    has the same name for the same run, work and dbt project; a repeat builds it from scratch.

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
        current = work.combine(unpublished_work(warehouse.ledger(kinds=KINDS, as_of=as_of)))
        report = check_merges(warehouse, streams, current, as_of)
        marts = _build(warehouse, streams, candidate, current, as_of) if report.passed else ()
    record_results(warehouse, report, candidate, "quality-of-merged-rows")
    return BuiltCandidate(candidate=candidate, work=current, marts=marts)


def _build(
    warehouse: Warehouse,
    streams: Mapping[str, StreamContract],
    candidate: str,
    work: ModelWork,
    as_of: datetime | None,
) -> tuple[str, ...]:
    whole = work.whole or not warehouse.marts()
    warehouse.begin_candidate(candidate, empty=whole)
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
    """Return the days of changed rows by stream; streams without a contract are left out, as no model reads them."""
    declared = [stream for stream in work.streams if stream in streams]
    return {stream: warehouse.touched_days(streams[stream], work.batches) for stream in declared}


def candidate_name(run: str, work: ModelWork, project: str) -> str:
    """Return the name of the candidate that a run builds from some work with one state of the dbt project."""
    digest = hashlib.sha256(f"{run} {work.batches} {project}".encode()).hexdigest()
    return f"candidate_{digest[:16]}"
