"""Gives a stream's table the types of its contract that no merge can give it."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from millrace.domain import names
from tasks.slots import slot
from tasks.tell import tell_failure, tell_recovery
from tasks.upkeep.migrate_table import migrate_table


@flow(
    flow_run_name="migrate {source}.{stream}",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure],
    on_completion=[tell_recovery],
)
def migrate(source: str, stream: str) -> dict[str, str]:
    """Make a timestamp of a date, or text of anything, as the contract says now; returns the changed columns.

    It holds the slot of the stream's merge, so that none is committed meanwhile; does nothing when a merge is at work.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        stream: one of its streams.
    """
    with slot(names.merge_slot(source, stream)) as acquired:
        return migrate_table(source, stream, acquired)
