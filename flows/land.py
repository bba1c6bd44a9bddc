"""Lands a sync that was started outside the platform, as soon as Airbyte's webhook reports its end."""

from tasks.flow import millrace_flow
from tasks.ingest.land_sync import land_sync
from tasks.reconcile.find_under_way import find_under_way
from tasks.reconcile.find_unlanded import find_unlanded


@millrace_flow(flow_run_name="land {source}", pausable=True)
def land(source: str, job_id: int | None = None) -> int:
    """Land one sync, or all ended ones that lack a manifest; returns the number of streams with new rows.

    A sync that an ingest run watches is left to that run. The bucket announces each manifest.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        job_id: the job in Airbyte; by default all jobs of the last 7 days.
    """
    watched = find_under_way().jobs
    jobs = [job_id] if job_id else [sync.job_id for sync in find_unlanded(source)]
    return sum(len(land_sync(source, job)) for job in jobs if (source, job) not in watched)
