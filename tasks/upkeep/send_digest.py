"""Sends the digest of a day to Slack."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_UI_URL
from prefect_slack import SlackWebhook

from blocks import names as block_names
from blocks.load import load_block
from millrace.domain.digest import Day, body, subject
from millrace.domain.errors import AlertFailed
from millrace.settings import load_settings
from tasks.retries import DELAYS_S


@task(task_run_name="send digest", retries=3, retry_delay_seconds=DELAYS_S, cache_policy=NO_CACHE)
def send_digest(day: Day) -> str:
    """Post a day's digest; returns its text.

    Raises:
        AlertFailed: Slack did not accept it; Prefect retries three times.
    """
    text = body(day, PREFECT_UI_URL.value() or "", load_settings().slack.runbook)
    try:
        load_block(SlackWebhook, block_names.SLACK).notify(text, subject(day))
    except Exception as error:  # the library raises many types, depending on Slack's response
        raise AlertFailed(
            f"Slack did not accept the digest of {day.day}: {error}; check the secret with its URL"
        ) from error
    return f"{subject(day)}\n{text}"
