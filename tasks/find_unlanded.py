"""Lands syncs that ended without a manifest: started elsewhere, or by a run that died."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.airbyte_client import TERMINAL, AirbyteClient
from contracts import names
from contracts.source import SourceContract, find_source, load_sources
from contracts.sync import StartedSync
from lake.store import Lake
from tasks.await_landing import await_landing
from tasks.place import airbyte_block, open_lake
from tasks.retries import DELAYS_S, is_transient
from tasks.source import SOURCES
from tasks.sync_source import watch_sync


@task(task_run_name="look for unlanded syncs", retries=2, retry_delay_seconds=DELAYS_S,
      retry_condition_fn=is_transient, cache_policy=NO_CACHE)  # fmt: skip
def find_unlanded(source: str | None, dry_run: bool) -> list[str]:
    """Syncs that ended without a manifest, landed now unless `dry_run`; as `<source> job <id>`."""
    sources = load_sources(SOURCES)
    wanted = [find_source(sources, source)] if source else list(sources.values())
    lake = open_lake()
    with airbyte_block().open() as client:
        found = [sync for contract in wanted for sync in unlanded(client, lake, contract)]
    if not dry_run:
        for sync in found:
            await_landing(watch_sync(sync))
    return [f"{sync.source} job {sync.job_id}" for sync in found]


def unlanded(client: AirbyteClient, lake: Lake, contract: SourceContract) -> list[StartedSync]:
    """Ended jobs among a connection's newest that have no manifest of any stream."""
    connection_id = client.connection(contract.source)["connectionId"]
    ended = [job for job in client.newest_jobs(connection_id, limit=20) if job["status"] in TERMINAL]
    landed = landed_jobs(lake, contract)
    return [
        StartedSync(source=contract.source, connection_id=connection_id, job_id=job["jobId"])
        for job in ended
        if job["jobId"] not in landed
    ]


def landed_jobs(lake: Lake, contract: SourceContract) -> set[int]:
    """Ids of the jobs that have a manifest of every stream."""
    jobs: list[set[int]] = []
    for stream in contract.streams.values():
        if stream.mode != "overwrite":
            prefixes = [names.manifests_prefix(contract.source, stream.stream, empty=e) for e in (False, True)]
            paths = [names.MANIFEST_PATH.fullmatch(o.name) for prefix in prefixes for o in lake.list(prefix)]
            jobs.append({int(path[3]) for path in paths if path})  # other files there are not ours
    return set.intersection(*jobs) if jobs else set()
