"""Copies the newest Slack URL to Prefect's server, which needs it to send notifications."""

import logging

from prefect_slack import SlackWebhook

from blocks import names as block_names
from blocks.load import load_block
from millrace.domain.findings import Gap
from millrace.observability.events import log_event
from millrace.settings import load_settings
from tasks.context import open_secret
from tasks.retries import uncached_task

log = logging.getLogger(__name__)


@uncached_task(task_run_name="refresh the Slack URL", retries=2)
def refresh_slack(dry_run: bool = False) -> list[Gap]:
    """Update the block to the newest version of the secret, unless `dry_run`; returns a gap when it was outdated.

    Raises:
        SecretError: the secret is missing, disabled or empty; the block stays as it was.
    """
    secret = load_settings().slack.url_secret
    url, block = open_secret(secret), load_block(SlackWebhook, block_names.SLACK)
    if block.url.get_secret_value() == url:
        return []
    if not dry_run:
        block.url = type(block.url)(url)
        block.save(block_names.SLACK, overwrite=True)
        log_event(log, logging.INFO, "secret.refreshed", secret=secret)
    return [Gap(kind="alert address out of date", where=secret)]
