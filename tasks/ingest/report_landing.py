"""Reports the landings of a sync, and fails the run when the sync failed."""

from prefect import task
from prefect.artifacts import create_table_artifact

from millrace.domain.errors import SyncFailed
from millrace.domain.sync import Landing, Sync
from tasks.context import open_lake, run_id
from tasks.started_syncs import forget_sync


@task(task_run_name="report landing of {sync.source}")
def report_landing(sync: Sync, landings: list[Landing]) -> None:
    """Create a table of the landings; a failed sync is forgotten, so that a retried run starts another one.

    Raises:
        SyncFailed: Airbyte's job did not succeed; the rows that it wrote are landed nevertheless.
    """
    create_table_artifact(
        [landing.model_dump() for landing in landings],
        key=f"landed-{sync.source}".replace("_", "-"),
        description=f"Landings of sync {sync.job_id} of **{sync.source}**, which {sync.outcome}",
    )
    if sync.outcome != "succeeded":
        forget_sync(open_lake(), run_id())
        rows = sum(landing.rows for landing in landings)
        raise SyncFailed(
            f"sync {sync.job_id} of {sync.source} {sync.outcome}: {sync.error or 'Airbyte gave no reason'};"
            f" {rows:,} rows that it wrote before are landed. Fix the cause (see the job's log in Airbyte), then press"
            " Retry, or run ingest again: the next sync continues where this one stopped"
        )
