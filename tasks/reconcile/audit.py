"""Decides when reconcile looks at everything instead of the last days."""

from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.domain.names import AUDITED
from millrace.settings import load_settings
from tasks.context import open_lake
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="look when all was audited",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def is_audit_due() -> bool:
    """Whether the last full audit is `reconcile.audit_every_h` ago, or there was none."""
    last = open_lake().stat(AUDITED)
    return last is None or last.updated < datetime.now(UTC) - timedelta(hours=load_settings().reconcile.audit_every_h)


@task(
    task_run_name="note the audit",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def note_audit() -> None:
    """Remember that all was audited now."""
    open_lake().write(AUDITED, b"")
