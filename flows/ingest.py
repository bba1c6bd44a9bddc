"""Extracts a source into the lake with Airbyte; the bucket announces the manifests."""

from millrace.domain import names
from tasks.flow import millrace_flow
from tasks.ingest.await_landing import await_landing
from tasks.ingest.cancel_sync import cancel_sync
from tasks.ingest.report_landing import report_landing
from tasks.ingest.sync_source import start_sync, watch_sync
from tasks.name_run import name_run_after_landing, tag_run


@millrace_flow(flow_run_name="ingest {source}", shows_failure=True, pausable=True, on_cancellation=[cancel_sync])
def ingest(source: str, streams: list[str] | None = None) -> None:
    """Sync one source and land every stream of it in the lake.

    The bucket publishes each manifest on the topic `lake-landed`, which starts the merges.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        streams: streams that the caller expects; unknown ones are rejected. A sync covers the whole connection.
    """
    tag_run(source)
    started = start_sync(source, streams)
    tag_run(names.sync_tag(source, started.job_id))  # by which the gateway sees that the sync's end needs no other run
    sync = watch_sync(started)
    landings = await_landing(sync)
    name_run_after_landing(landings)
    report_landing(sync, landings)
