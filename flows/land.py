"""Lands a sync that was started elsewhere, as soon as Airbyte tells of its end."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from tasks.ingest.land_sync import land_sync
from tasks.reconcile.find_under_way import find_under_way
from tasks.reconcile.find_unlanded import find_unlanded
from tasks.tell import tell_failure, tell_recovery


@flow(
    flow_run_name="land {source}",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure],
    on_completion=[tell_recovery],
)
def land(source: str, job_id: int | None = None) -> int:
    """Land one sync, or all ended ones that lack a manifest; returns how many streams brought rows.

    A sync that an ingest run watches is left to that run. The bucket announces what is landed.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        job_id: the job in Airbyte; all of the last 7 days when left out.
    """
    watched = find_under_way().jobs
    jobs = [job_id] if job_id else [sync.job_id for sync in find_unlanded(source)]
    return sum(len(land_sync(source, job)) for job in jobs if (source, job) not in watched)
