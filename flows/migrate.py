"""Changes the types of a stream's table to those of its contract, where no merge can."""

from millrace.domain import names
from tasks.flow import millrace_flow
from tasks.slots import slot
from tasks.upkeep.migrate_table import migrate_table


@millrace_flow(flow_run_name="migrate {source}.{stream}")
def migrate(source: str, stream: str) -> dict[str, str]:
    """Change dates to timestamps, and any column to text, as the contract says now; returns the changed columns.

    The run holds the slot of the stream's merge, so that no batch is committed meanwhile, and fails while a merge runs.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        stream: one of its streams.
    """
    with slot(names.merge_slot(source, stream)) as acquired:
        return migrate_table(source, stream, acquired)
