"""Makes Airbyte's connections match `sources/`: a table of the changes out."""

from prefect.artifacts import create_table_artifact

from tasks.retries import uncached_task


@uncached_task(task_run_name="make connections agree", retries=3)
def agree_connections(sources: list[str] | None, dry_run: bool, delete: bool) -> str:
    """Apply the differences and create a table of all items; idempotent by the items' names."""
    from tasks.upkeep.agreement import agree  # imports Google's integration, which most runs do not need

    result = agree(sources or (), dry_run=dry_run, delete=delete)
    rows = [{"kind": c.kind, "name": c.name, "action": c.action, "differs": "; ".join(c.lines)} for c in result.changes]
    create_table_artifact(rows, key="connections", description=result.summary)
    return result.summary
