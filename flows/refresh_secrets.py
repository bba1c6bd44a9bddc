"""Refreshes what must hold a secret's value itself, after a rotation."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from tasks.refresh_slack import refresh_slack
from tasks.tell import tell_failure, tell_recovery


@flow(flow_run_name="refresh secrets", persist_result=True, result_storage=RESULT_STORAGE,
      on_failure=[tell_failure], on_completion=[tell_recovery])  # fmt: skip
def refresh_secrets() -> int:
    """Hand the newest Slack URL to Prefect; returns how many values were out of date.

    All other secrets are read from Secret Manager on use, and need nothing.
    """
    return len(refresh_slack())
