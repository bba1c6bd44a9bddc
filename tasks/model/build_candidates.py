"""Builds candidates of the marts with dbt, in a schema without readers."""

import hashlib
import logging
from collections.abc import Iterable

from millrace.contracts.source import load_sources
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.errors import StreamUnprepared
from millrace.domain.model import BuiltCandidate, ModelWork, model_work
from millrace.observability.events import log_event
from millrace.project import current_project
from millrace.warehouse.port import Warehouse
from tasks.context import open_warehouse, run_id
from tasks.model.candidate import Builder
from tasks.model.check_merges import check_merges
from tasks.model.dbt import invoke_dbt, project_digest
from tasks.model.quality_results import broken_suites, record_results
from tasks.model.refuse import held_marts, refusal
from tasks.retries import transient_task

log = logging.getLogger(__name__)


@transient_task(
    task_run_name="build candidates",
    tags=[names.STEP_TAG],
    retries=2,
    cache_key_fn=lambda _, arguments: candidate_name(
        run_id(), arguments["work"], project_digest(current_project().dbt_project)
    ),
)
def build_candidates(work: ModelWork) -> BuiltCandidate:
    """Check the merged rows, then run `dbt build` on all models that they affect, tests included.

    A part of the project with a broken stream is not built, and one that dbt can't build does not stop the others.

    The build reads a consistent snapshot of all tables, so it includes merges since the work was found. The candidate
    has the same name for the same run, work and dbt project; a repeat builds it from scratch. Merged tables are only
    read: merges and `reconcile` create and extend them.

    Raises:
        WarehouseBusy: a writer holds the warehouse.
        StreamUnprepared: a table lacks columns of its contract.
        QualityFailed: the merged rows of every part break an expectation of severity `stop`; nothing was built.
        BuildFailed: dbt could not build some parts, and the gate refused all others.
    """
    project = project_digest(current_project().dbt_project)
    candidate = candidate_name(run_id(), work, project)
    warehouse = open_warehouse()
    streams = {
        stream.id: stream
        for source in load_sources(current_project().sources).values()
        for stream in source.streams.values()
    }
    absent = _streams_without_table(warehouse, streams.values())
    with warehouse.reader(f"dbt build for {candidate}") as as_of:
        unpublished = warehouse.unpublished(as_of)
        current = work.combine(model_work(unpublished))
        report = check_merges(warehouse, streams, current, as_of)
        begun = BuiltCandidate(
            candidate=candidate,
            work=current,
            marts=(),
            stream_of={entry.batch_id: f"{entry.source}.{entry.stream}" for entry in unpublished},
            project=project,
        )
        built = Builder(warehouse, streams, absent, as_of, invoke_dbt).build(begun, broken_suites(report))
    record_results(warehouse, report, candidate, "quality-of-merged-rows", held=held_marts(built.refused))
    if built.is_empty:
        raise refusal(candidate, built.refused)
    return built


def _streams_without_table(warehouse: Warehouse, streams: Iterable[StreamContract]) -> list[str]:
    """Return the declared streams that have no table yet, as nothing of their source was merged.

    Raises:
        StreamUnprepared: a table lacks columns of its contract.
    """
    absent = []
    for stream in streams:
        missing = warehouse.missing_columns(stream)
        if missing is None:
            absent.append(stream.id)
        elif missing:
            raise StreamUnprepared(
                f"the table of {stream.id} lacks {', '.join(missing)} of its contract; its next merge adds them, or"
                " `millrace start reconcile`"
            )
    if absent:
        log_event(log, logging.INFO, "model.without_streams", streams=", ".join(absent))
    return absent


def candidate_name(run: str, work: ModelWork, project: str) -> str:
    """Return the name of the candidate that a run builds from some work, over what is published, with one project."""
    digest = hashlib.sha256(f"{run} {work.batches} {work.after} {project}".encode()).hexdigest()
    return f"candidate_{digest[:16]}"
