"""Makes Airbyte agree with `sources/`, and shows what differed."""

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="make connections agree",
    retries=3,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def agree_connections(sources: list[str] | None, dry_run: bool, delete: bool) -> str:
    """Compare and mend, and leave a table of all items; running twice equals running once, by the items' names."""
    from tasks.upkeep.agreement import agree  # imports Google's integration, which most runs do not need

    done = agree(sources or (), dry_run=dry_run, delete=delete)
    rows = [{"kind": c.kind, "name": c.name, "action": c.action, "differs": "; ".join(c.lines)} for c in done.changes]
    create_table_artifact(rows, key="connections", description=done.summary)
    return done.summary
