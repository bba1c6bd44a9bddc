"""Shows what a sync landed, and ends the run as the sync ended."""

from prefect import task
from prefect.artifacts import create_table_artifact

from millrace.domain.errors import SyncFailed
from millrace.domain.sync import Landing, Sync
from tasks.context import open_lake, run_id
from tasks.started_syncs import forget_sync


@task(task_run_name="report landing of {sync.source}")
def report_landing(sync: Sync, landings: list[Landing]) -> None:
    """Table of what landed per stream; a failed sync is forgotten, so that a retried run starts another.

    Raises:
        SyncFailed: Airbyte's job did not succeed; what it wrote is landed all the same.
    """
    create_table_artifact(
        [landing.model_dump() for landing in landings],
        key=f"landed-{sync.source}".replace("_", "-"),
        description=f"Sync {sync.job_id} of **{sync.source}** {sync.outcome}: what it landed",
    )
    if sync.outcome != "succeeded":
        forget_sync(open_lake(), run_id())
        rows = sum(landing.rows for landing in landings)
        raise SyncFailed(
            f"sync {sync.job_id} of {sync.source} {sync.outcome}: {sync.error or 'Airbyte gave no reason'};"
            f" {rows:,} rows that it wrote before are landed. Mend the cause (the job's log in Airbyte tells), then"
            " press Retry, or run ingest again: the next sync goes on where this one stopped"
        )
