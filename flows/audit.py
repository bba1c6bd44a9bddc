"""Looks whether each key stands in one row of its table: any other is an incident."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from tasks.context import wanted_sources
from tasks.reconcile.attempt import Attempts
from tasks.reconcile.report_reconcile import raise_failures
from tasks.tell import tell_failure, tell_recovery
from tasks.upkeep.audit_keys import audit_keys


@flow(
    flow_run_name="audit",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure],
    on_completion=[tell_recovery],
)
def audit(source: str | None = None) -> list[str]:
    """Count the keys that stand in two rows, stream by stream; returns the streams that have such.

    A merge finds only one of two rows, so the other would stay as it is for ever. Each is told by an event.

    Args:
        source: look at this source only.
    """
    attempt = Attempts()
    streams = [stream for contract in wanted_sources(source) for stream in contract.streams.values()]
    doubled = [found for s in streams for found in attempt(audit_keys, s.source, s.stream)]
    raise_failures(attempt.failed)
    return doubled
