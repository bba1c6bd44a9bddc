"""Finds syncs that ended without a manifest: started outside the platform, or by a run that died."""

from datetime import UTC, datetime, timedelta

from millrace.airbyte.client import AirbyteClient
from millrace.contracts.source import SourceContract
from millrace.domain import names
from millrace.domain.findings import Gap
from millrace.lake.store import Lake
from tasks.context import airbyte_block, open_lake, source_contract
from tasks.retries import uncached_task

LOOK_BACK = timedelta(days=7)


@uncached_task(task_run_name="look for unlanded syncs of {source}", retries=2)
def find_unlanded(source: str, full_scan: bool = False) -> list[Gap]:
    """Return the syncs of the last 7 days (with `full_scan`, all) that ended without a manifest."""
    contract, lake = source_contract(source), open_lake()
    with airbyte_block().open() as client:
        return [
            Gap(kind="sync without a manifest", where=f"{source} job {job}", source=source, job_id=job)
            for job in unlanded(client, lake, contract, None if full_scan else datetime.now(UTC) - LOOK_BACK)
        ]


def unlanded(client: AirbyteClient, lake: Lake, contract: SourceContract, since: datetime | None) -> list[int]:
    """Return the ended jobs of a connection, created since `since`, that lack a stream's manifest; oldest first."""
    connection_id = client.connection(contract.source)["connectionId"]
    landed = {stream: landed_jobs(lake, contract.source, stream, since) for stream in contract.streams}
    missing = []
    for job in client.jobs_of(connection_id):
        if since and job.created_at < since:
            break
        awaited = [s for s, c in contract.streams.items() if c.mode != "overwrite" or job.succeeded]
        if job.ended and any(job.id not in landed[stream] for stream in awaited):
            missing.append(job.id)
    return missing[::-1]


def landed_jobs(lake: Lake, source: str, stream: str, since: datetime | None) -> set[int]:
    """Return the ids of the jobs that have a manifest of a stream."""
    prefixes = [names.manifests_prefix(source, stream, empty=empty) for empty in (False, True)]
    ranges = [(prefix, f"{prefix}{since:%Y%m%d}" if since else None) for prefix in prefixes]
    paths = [names.MANIFEST_PATH.fullmatch(o.name) for listed in ranges for o in lake.list(*listed)]
    return {int(path[3]) for path in paths if path}  # a folder may hold other files
