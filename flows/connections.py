"""Makes Airbyte's connections match the files in `sources/`."""

from tasks.flow import millrace_flow
from tasks.upkeep.agree_connections import agree_connections


@millrace_flow(flow_run_name="connections")
def connections(sources: list[str] | None = None, dry_run: bool = False, delete: bool = False) -> str:
    """Create and change Airbyte's connections until they match the files; returns a summary of the changes.

    Args:
        sources: names of files in `sources/`, without `.yaml`; all of them by default.
        dry_run: report the differences and change nothing.
        delete: delete connections into the lake that no file declares.
    """
    return agree_connections(sources, dry_run, delete)
