"""Replaces the marts by the candidates that passed the gate."""

from datetime import UTC, datetime

from prefect.artifacts import create_table_artifact

from millrace.domain import names
from millrace.domain.ledger import modelled_entry, published_entry
from millrace.domain.model import BuiltCandidate
from tasks.context import open_warehouse, run_id
from tasks.model.dbt import PROJECT, project_digest
from tasks.retries import transient_task


@transient_task(task_run_name="publish {built.candidate}", tags=[names.STEP_TAG], retries=3)
def publish_marts(built: BuiltCandidate) -> dict[str, int]:
    """Switch readers to the candidates atomically, and record their merges in the ledger; returns rows per mart."""
    warehouse, candidate, work = open_warehouse(), built.candidate, built.work
    marts = warehouse.publish(candidate)
    at = datetime.now(UTC)
    entries = [published_entry(batch, candidate, run_id(), at) for batch in work.batches]
    warehouse.append(*entries, modelled_entry(candidate, project_digest(PROJECT), run_id(), at))
    create_table_artifact(
        [{"mart": name, "rows": rows, "built": name in built.marts} for name, rows in sorted(marts.items())],
        key="published-marts",
        description=f"Published from {len(work.batches)} merged batches of {', '.join(work.streams)}",
    )
    return marts
