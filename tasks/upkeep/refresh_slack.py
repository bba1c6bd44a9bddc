"""Hands the newest Slack URL to Prefect's server, which must hold it to post."""

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect_slack import SlackWebhook

from blocks import names as block_names
from blocks.load import registered
from millrace.domain.findings import Found
from millrace.settings import load_settings
from tasks.context import open_secret
from tasks.retries import DELAYS_S, is_transient

log = logging.getLogger(__name__)


@task(
    task_run_name="refresh the Slack URL",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def refresh_slack(dry_run: bool = False) -> list[Found]:
    """Bring the block to the newest version of the secret unless `dry_run`; one finding when it was out of date.

    Raises:
        SecretError: the secret is missing, disabled or empty; the block stays as it was.
    """
    secret = load_settings().slack.url_secret
    url, block = open_secret(secret), registered(SlackWebhook, block_names.SLACK)
    if block.url.get_secret_value() == url:
        return []
    if not dry_run:
        block.url = type(block.url)(url)
        block.save(block_names.SLACK, overwrite=True)
        log.info("secret.refreshed", extra={"event": "secret.refreshed", "fields": {"secret": secret}})
    return [Found(kind="alert address out of date", where=secret)]
