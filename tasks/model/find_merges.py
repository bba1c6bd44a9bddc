"""Asks the ledger which merges are not in the marts yet."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.domain.model import KINDS, ModelWork, unpublished
from tasks.context import open_warehouse
from tasks.model.dbt import PROJECT, project_digest
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="look for merges",
    retries=3,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def find_merges(full: bool) -> ModelWork | None:
    """Merges that no published marts have (with `full`, all merges); None when there are none."""
    ledger = open_warehouse().ledger(kinds=KINDS)
    return unpublished(ledger, full=full, project=project_digest(PROJECT))
