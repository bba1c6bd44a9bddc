"""Applies rotated secrets, and reports those that should be rotated."""

from tasks.flow import millrace_flow
from tasks.upkeep.check_secrets import check_secrets
from tasks.upkeep.refresh_slack import refresh_slack


@millrace_flow(flow_run_name="rotation")
def rotation() -> int:
    """Copy the current Slack URL from Secret Manager to Prefect, and check the age of every secret.

    All other secrets are read on use, so they need no copy. Returns the number of secrets that are old, about to
    expire or unusable; each of them emits an event.
    """
    refresh_slack()
    return check_secrets()
