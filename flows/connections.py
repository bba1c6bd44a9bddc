"""Makes Airbyte agree with the files in `sources/`."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from tasks.tell import tell_failure, tell_recovery
from tasks.upkeep.agree_connections import agree_connections


@flow(
    flow_run_name="connections",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure],
    on_completion=[tell_recovery],
)
def connections(sources: list[str] | None = None, dry_run: bool = False, delete: bool = False) -> str:
    """Create and change Airbyte's connections until they are as the files say; returns what was done.

    Args:
        sources: names of files in `sources/`, without `.yaml`; all when none are given.
        dry_run: report what differs, and change nothing.
        delete: delete connections into the lake that no file declares.
    """
    return agree_connections(sources, dry_run, delete)
