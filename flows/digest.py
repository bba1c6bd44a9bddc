"""Tells people once a day what was done, so that no message is needed for what went well."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from tasks.tell import tell_failure, tell_recovery
from tasks.upkeep.gather_day import gather_day
from tasks.upkeep.send_digest import send_digest


@flow(
    flow_run_name="digest",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure],
    on_completion=[tell_recovery],
)
def digest(day: str | None = None) -> str:
    """Send yesterday's batches, rows, quarantine, quality and failures to Slack; returns the text.

    Args:
        day: another day than yesterday (UTC), as 2026-01-31.
    """
    return send_digest(gather_day(day))
