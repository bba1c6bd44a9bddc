"""Lands one sync that Airbyte knows, whoever started it."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.domain.errors import EventRefused
from millrace.domain.sync import StartedSync
from tasks.context import airbyte_block, source_contract
from tasks.ingest.await_landing import await_landing
from tasks.ingest.sync_source import watch_sync
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="land job {job_id} of {source}",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def land_sync(source: str, job_id: int) -> list[str]:
    """Wait for a job's end and land it; returns its streams that brought rows. Again: nothing, by the manifests' paths.

    Raises:
        UnknownStream: no such source.
        EventRefused: the job is of another connection.
    """
    source_contract(source)
    with airbyte_block().open() as client:
        connection_id = client.connection(source)["connectionId"]
        if client.job(job_id).connection_id != connection_id:
            raise EventRefused(f"job {job_id} is none of {source}: its connection is another; look at it in Airbyte")
    landings = await_landing(watch_sync(StartedSync(source=source, connection_id=connection_id, job_id=job_id)))
    return [f"{source}.{landing.stream}" for landing in landings if landing.files]
