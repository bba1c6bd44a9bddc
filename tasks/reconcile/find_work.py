"""Finds pending work by lake and ledger: of merges landings and batches, of the model merges, of show publications."""

from datetime import UTC, datetime, timedelta

from beam_job.batches import pending, under_way
from millrace.domain.findings import Gap
from millrace.domain.model import model_work
from millrace.warehouse.shown import unshown_publication
from tasks.context import open_lake, open_warehouse, stream_contract
from tasks.retries import uncached_task

SETTLED = timedelta(minutes=2)  # of a younger publication the run that shows it may still begin by an event


@uncached_task(task_run_name="look for unmerged landings of {source}.{stream}", retries=2)
def find_unmerged(source: str, stream: str, full_scan: bool = False) -> list[Gap]:
    """Return the landings that the ledger lacks (with `full_scan`, however late), and an open batch without a run."""
    contract, lake = stream_contract(source, stream), open_lake()
    batch = under_way(lake, contract)
    waiting = pending(lake, open_warehouse(), contract, full_scan=full_scan)
    landed = [path for path in waiting if not (batch and path in batch.manifests)]
    gaps = []
    if landed:
        gaps.append(
            Gap(
                kind="landing not merged",
                where=contract.id,
                count=len(landed),
                detail=landed[0],
                source=source,
                stream=stream,
            )
        )
    if batch:
        gaps.append(
            Gap(
                kind="open batch without a run",
                where=contract.id,
                bytes=batch.bytes,
                detail=batch.id,
                source=source,
                stream=stream,
            )
        )
    return gaps


@uncached_task(task_run_name="look for unpublished merges", retries=2)
def find_unpublished() -> list[Gap]:
    """Return the work of a model run: merges that no marts include, and marts that were not announced."""
    warehouse = open_warehouse()
    gaps, work, newest = [], model_work(warehouse.unpublished()), warehouse.unannounced_publication()
    if work:
        streams = ", ".join(work.streams)
        gaps.append(Gap(kind="merge not published", where="marts", count=len(work.batches), detail=streams))
    if newest:
        gaps.append(Gap(kind="publication not announced", where="marts", detail=newest.candidate))
    return gaps


@uncached_task(task_run_name="look for a publication that is not shown", retries=2)
def find_unshown() -> list[Gap]:
    """Return the newest publication when its pages and files are not in the lake although it is old enough."""
    newest = unshown_publication(open_lake(), open_warehouse())
    if newest is None or newest.at > datetime.now(UTC) - SETTLED:
        return []
    return [Gap(kind="publication not shown", where="marts", detail=newest.batch_id)]
