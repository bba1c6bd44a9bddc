"""Looks at the age and state of every secret that the platform uses, never at its value."""

import logging
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from contracts import names
from contracts.source import load_sources
from settings import load_settings
from tasks.retries import DELAYS_S, is_transient
from tasks.source import SOURCES

log = logging.getLogger(__name__)


@task(task_run_name="check secrets", retries=3, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient,
      cache_policy=NO_CACHE)  # fmt: skip
def check_secrets() -> int:
    """Tell of each secret that is older than `secrets.max_age_days`, expires soon, or can't be read; how many."""
    from blocks import MillraceCredentials  # imports Google's integration, which most runs do not need
    from blocks import names as block_names
    from blocks.load import registered
    from blocks.register import secret_names
    from blocks.secrets import secret_ages, unusable_secrets

    settings = load_settings()
    used = secret_names(settings, load_sources(SOURCES).values())
    credentials = registered(MillraceCredentials, block_names.CREDENTIALS)
    now, most = datetime.now(UTC), timedelta(days=settings.secrets.max_age_days)
    ages = secret_ages(credentials, used)
    due = {age.secret: why for age in ages if (why := age.why_due(now, most))} | unusable_secrets(credentials, used)
    for secret, why in due.items():
        fields = {"v": 1, "secret": secret, "used_by": used[secret], "why": why}
        emit_event(names.SECRET_AGING, resource={"prefect.resource.id": names.secret_resource(secret)}, payload=fields)
        log.warning("secret.aging", extra={"event": names.SECRET_AGING, "fields": fields})
    made = {age.secret: f"{age.created_at:%Y-%m-%d %H:%M}" for age in ages}
    rows = [
        {"secret": name, "used by": user, "newest version": made.get(name, ""), "wants a new value": due.get(name, "")}
        for name, user in used.items()
    ]
    create_table_artifact(rows, key="secrets", description=f"{len(due)} of {len(used)} secrets want a new value")
    return len(due)
