"""Replaces the marts by candidates that passed."""

from datetime import UTC, datetime

from prefect import task
from prefect.artifacts import create_table_artifact

from blocks import MillraceWarehouse
from blocks import names as block_names
from contracts.ledger import LedgerEntry
from contracts.model import ModelWork, Published
from tasks.retries import DELAYS_S, is_transient
from tasks.run_id import run_id


@task(task_run_name="publish {candidate}", retries=3, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient)
def publish_marts(candidate: str, work: ModelWork) -> Published:
    """Let all readers see the candidates at once, then note in the ledger up to when merges are published."""
    warehouse = MillraceWarehouse.load(block_names.WAREHOUSE).open()
    marts = warehouse.publish(candidate)
    warehouse.append(
        LedgerEntry(
            kind="published",
            batch_id=candidate,
            source="",
            stream="",
            run_id=run_id(),
            at=datetime.now(UTC),
            detail=work.watermark.isoformat(),
        )
    )
    create_table_artifact(
        [{"mart": name, "rows": rows} for name, rows in sorted(marts.items())],
        key="published-marts",
        description=f"Published from {len(work.batches)} merged batches of {', '.join(work.streams)}",
    )
    return Published(run_id=run_id(), marts=marts, batches=len(work.batches))
