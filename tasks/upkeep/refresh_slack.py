"""Copies the newest Slack URLs to Prefect's server, which needs it to send notifications."""

import logging

from prefect_slack import SlackWebhook

from blocks import names as block_names
from blocks.load import load_block
from millrace.contracts.channels import secrets_of_channels
from millrace.contracts.marts import mart_promises
from millrace.contracts.source import load_sources
from millrace.domain.findings import Gap
from millrace.observability.events import log_event
from millrace.project import current_project
from millrace.settings import load_settings
from tasks.context import open_secret
from tasks.retries import uncached_task

log = logging.getLogger(__name__)


@uncached_task(task_run_name="refresh the Slack URL", retries=2)
def refresh_slack(dry_run: bool = False) -> list[Gap]:
    """Update each block to the newest version of its secret, unless `dry_run`; returns a gap for each outdated one.

    Raises:
        SecretError: a secret is missing, disabled or empty; its block stays as it was.
    """
    project = current_project()
    channels = secrets_of_channels(load_sources(project.sources).values(), mart_promises(project.dbt_project))
    blocks = {block_names.SLACK: load_settings().slack.url_secret}
    blocks |= {block_names.channel_block(channel): secret for channel, secret in channels.items()}
    outdated = [secret for name, secret in blocks.items() if _refresh(name, secret, dry_run)]
    return [Gap(kind="alert address out of date", where=secret) for secret in outdated]


def _refresh(name: str, secret: str, dry_run: bool) -> bool:
    """Update one block; return True when it was outdated."""
    url, block = open_secret(secret), load_block(SlackWebhook, name)
    if block.url.get_secret_value() == url:
        return False
    if not dry_run:
        block.url = type(block.url)(url)
        block.save(name, overwrite=True)
        log_event(log, logging.INFO, "secret.refreshed", secret=secret)
    return True
