"""Checks that no key has two rows in its table; one that has is an incident."""

from tasks.context import select_sources
from tasks.flow import millrace_flow
from tasks.reconcile.attempt import Attempts
from tasks.reconcile.report_reconcile import raise_failures
from tasks.upkeep.find_doubled_keys import find_doubled_keys


@millrace_flow(flow_run_name="check keys")
def check_keys(source: str | None = None) -> list[str]:
    """Count the keys that have two rows, stream by stream, and return the streams that have such keys.

    A merge updates one of the two rows only, so the other would never change again. Each stream emits an event.

    Args:
        source: check this source only.
    """
    attempt = Attempts()
    streams = [stream for contract in select_sources(source) for stream in contract.streams.values()]
    doubled = [stream_id for s in streams for stream_id in attempt(find_doubled_keys, s.source, s.stream)]
    raise_failures(attempt.failed)
    return doubled
