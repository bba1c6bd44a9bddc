"""Lands one sync of Airbyte, however it was started."""

from millrace.domain import names
from millrace.domain.errors import EventRefused
from millrace.domain.sync import StartedSync
from tasks.context import airbyte_block, source_contract
from tasks.ingest.await_landing import await_landing
from tasks.ingest.sync_source import watch_sync
from tasks.retries import uncached_task


@uncached_task(task_run_name="land job {job_id} of {source}", retries=2)
def land_sync(source: str, job_id: int) -> list[str]:
    """Wait for a job's end and land it; returns its streams with work for a merge. Idempotent by the manifests' paths.

    Raises:
        UnknownStream: no such source.
        EventRefused: the job belongs to another connection.
    """
    source_contract(source)
    with airbyte_block().open() as client:
        connection_id = client.connection(source)["connectionId"]
        if client.job(job_id).connection_id != connection_id:
            raise EventRefused(f"job {job_id} does not belong to source {source}; look at its connection in Airbyte")
    landings = await_landing(watch_sync(StartedSync(source=source, connection_id=connection_id, job_id=job_id)))
    return [f"{source}.{landing.stream}" for landing in landings if landing.manifest.startswith(names.MANIFESTS)]
