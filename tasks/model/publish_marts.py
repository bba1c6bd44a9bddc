"""Replaces the marts by the candidates that passed the gate."""

from datetime import UTC, datetime

from prefect.artifacts import create_table_artifact

from millrace.contracts.marts import mart_promises
from millrace.domain import names
from millrace.domain.ledger import modelled_entry, published_entry
from millrace.domain.model import BuiltCandidate
from millrace.project import current_project
from millrace.warehouse.port import Warehouse
from tasks.context import open_warehouse, run_id
from tasks.emit import emit
from tasks.model.dbt import project_digest
from tasks.retries import transient_task


@transient_task(task_run_name="publish {built.candidate}", tags=[names.STEP_TAG], retries=3)
def publish_marts(built: BuiltCandidate) -> dict[str, int]:
    """Switch readers to the candidates atomically, and record their merges in the ledger; returns rows per mart.

    Marts of refused parts stay what is published: before the switch the candidate gets them back.
    """
    warehouse, candidate, work = open_warehouse(), built.candidate, built.work
    marts = switch(warehouse, built)
    at = datetime.now(UTC)
    entries = [published_entry(batch, candidate, run_id(), at) for batch in work.batches]
    project = built.project or project_digest(current_project().dbt_project)
    warehouse.append(*entries, modelled_entry(candidate, project, run_id(), at, built.owed))
    create_table_artifact(
        [{"mart": name, "rows": rows, "built": name in built.marts} for name, rows in sorted(marts.items())],
        key="published-marts",
        description=f"Published from {len(work.batches)} merged batches of {', '.join(work.streams)}",
    )
    for promise in mart_promises(current_project().dbt_project):
        if promise.mart in built.marts:
            emit(names.MART_PUBLISHED, names.mart_resource(promise.mart), {"mart": promise.mart})
    return marts


def switch(warehouse: Warehouse, built: BuiltCandidate) -> dict[str, int]:
    """Publish the candidate with the published marts of its refused parts; again: changes nothing."""
    if built.refused:
        warehouse.restore(built.candidate, built.stays, known=built.known)
    return warehouse.publish(built.candidate)
