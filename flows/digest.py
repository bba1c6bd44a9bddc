"""Sends a daily digest to Slack, so that success needs no message of its own."""

from tasks.flow import millrace_flow
from tasks.upkeep.gather_day import gather_day
from tasks.upkeep.send_digest import send_digest


@millrace_flow(flow_run_name="digest")
def digest(day: str | None = None) -> str:
    """Send yesterday's batches, rows, quarantine, quality and failures to Slack; returns the text.

    Args:
        day: another day than yesterday (UTC), as 2026-01-31.
    """
    return send_digest(gather_day(day))
