"""Shows what a sync landed, and ends the run as the sync ended."""

from prefect import task
from prefect.artifacts import create_table_artifact

from contracts.errors import SyncFailed
from contracts.sync import Landing, Sync
from tasks.source import stream_contract


@task(task_run_name="report landing of {sync.source}")
def report_landing(sync: Sync, landings: list[Landing], streams: list[str] | None) -> None:
    """Table of what landed per stream.

    Raises:
        SyncFailed: Airbyte's job did not succeed; what it wrote is landed all the same.
        UnknownStream: `streams` names one that the source does not have.
    """
    for stream in streams or ():
        stream_contract(sync.source, stream)
    create_table_artifact(
        [landing.model_dump() for landing in landings],
        key=f"landed-{sync.source}".replace("_", "-"),
        description=f"Sync {sync.job_id} of **{sync.source}** {sync.outcome}: what it landed",
    )
    if sync.outcome != "succeeded":
        rows = sum(landing.rows for landing in landings)
        raise SyncFailed(
            f"sync {sync.job_id} of {sync.source} {sync.outcome}: {sync.error or 'Airbyte gave no reason'};"
            f" {rows:,} rows that it wrote before are landed. Mend the cause (the job's log in Airbyte tells), then"
            " run ingest again: it goes on where this sync stopped"
        )
