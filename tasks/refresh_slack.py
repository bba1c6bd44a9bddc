"""Hands a rotated Slack URL to Prefect, whose server must hold it to post."""

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE

from settings import load_settings
from tasks.retries import DELAYS_S, is_transient

log = logging.getLogger(__name__)


@task(task_run_name="refresh the Slack URL", retries=3, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient,
      cache_policy=NO_CACHE)  # fmt: skip
def refresh_slack() -> bool:
    """Whether Prefect had another URL than Secret Manager; running twice equals running once.

    Raises:
        SecretError: the secret is missing, disabled or empty.
    """
    from blocks import MillraceCredentials, register  # import Google's integration, which most runs do not need
    from blocks import names as block_names
    from blocks.load import registered

    changed = register.refresh_slack(load_settings(), registered(MillraceCredentials, block_names.CREDENTIALS))
    if changed:
        log.info("secret.taken_up", extra={"event": "secret.taken_up", "fields": {"secret": "slack"}})
    return changed
