"""Takes a source into the lake: Airbyte extracts, the manifests announce."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from tasks.ingest.await_landing import await_landing
from tasks.ingest.cancel_sync import cancel_sync
from tasks.ingest.report_landing import report_landing
from tasks.ingest.sync_source import start_sync, watch_sync
from tasks.say_done import say_about, say_landed
from tasks.show_status import show_failure
from tasks.tell import tell_failure, tell_recovery


@flow(
    flow_run_name="ingest {source}",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure, show_failure],
    on_completion=[tell_recovery],
    on_cancellation=[cancel_sync],
)
def ingest(source: str, streams: list[str] | None = None) -> None:
    """Sync one source and land every stream of it in the lake.

    The bucket publishes each manifest on the topic `lake-landed`, which starts the merges.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        streams: streams that the caller counts on; unknown ones are refused. A sync covers the whole connection.
    """
    say_about(source)
    started = start_sync(source, streams)
    sync = watch_sync(started)
    landings = await_landing(sync)
    say_landed(landings)
    report_landing(sync, landings)
