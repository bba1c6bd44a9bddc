"""Commits a staged batch to the warehouse, in one transaction with head and ledger."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.artifacts import create_table_artifact

from beam_job.commit import commit_allowed
from beam_job.refresh import allow_removal
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance, Batch, QuarantinedRow, Staged
from millrace.domain.errors import HeadMoved
from millrace.observability.events import log_event
from millrace.warehouse.prepare import create_absent
from tasks.context import open_lake, open_warehouse, run_id, source_contract, stream_contract
from tasks.emit import emit
from tasks.retries import transient_task

log = logging.getLogger(__name__)

REASON_LENGTH = 500


@transient_task(task_run_name="commit {batch.id}", tags=[names.STEP_TAG], retries=3)
def commit_batch(batch: Batch, staged: Staged) -> Balance | None:
    """Commit a batch and return its balance; a repeat returns the same one. None when another committer was first.

    Raises:
        BalanceError: rows do not add up; nothing was committed.
    """
    contract, at = stream_contract(batch.source, batch.stream), datetime.now(UTC)
    lake, warehouse = open_lake(), open_warehouse()
    staged = allow_removal(lake, warehouse, contract, batch, staged)
    if batch.head_epoch == 0:  # a source's first merge makes all of its tables: the models join its streams
        create_absent(warehouse, source_contract(batch.source).streams.values())
    try:
        balance = commit_allowed(lake, warehouse, contract, batch, staged, run_id=run_id(), at=at)
    except HeadMoved as error:
        log_event(log, logging.WARNING, "merge.lost", batch_id=batch.id, why=str(error))
        return None
    create_table_artifact(
        [{"files": len(batch.objects)} | balance.model_dump()],
        key=f"merged-{batch.source}-{batch.stream}".replace("_", "-"),
        description=f"Batch `{batch.id}` of **{batch.source}.{batch.stream}**: rows in = merged + superseded + stale"
        " + quarantined",
    )
    for event, details in incidents(batch, staged, balance).items():
        reason = str(details.get("reasons") or details.get("drift") or details.get("why") or "")
        payload = {"source": batch.source, "stream": batch.stream, "batch_id": batch.id} | details
        emit(event, names.stream_resource(batch.source, batch.stream), payload, reason=reason[:REASON_LENGTH])
    if contract.freshness_s:
        _emit_merged(contract, batch, balance, at)
    return balance


def _emit_merged(contract: StreamContract, batch: Batch, balance: Balance, at: datetime) -> None:
    """Emit that a stream has new data, labelled as stale when it had none for longer than its contract allows."""
    recent = open_warehouse().count_merges(contract, at - timedelta(seconds=contract.freshness_s or 0))
    emit(
        names.STREAM_MERGED,
        names.stream_resource(batch.source, batch.stream),
        {"source": batch.source, "stream": batch.stream, "rows": balance.merged},
        stale="yes" if was_stale(recent, batch) else "no",
    )


def was_stale(recent: int, batch: Batch) -> bool:
    """Return True when a batch is the only one of the `recent` merges of its stream, and not the stream's first."""
    return batch.head_epoch > 0 and recent <= 1


def example(row: QuarantinedRow) -> str:
    """Return a sentence about a quarantined row or file."""
    return row.detail if row.row is None else f"row {row.row} of {row.object}: {row.detail}"


def incidents(batch: Batch, staged: Staged, balance: Balance) -> dict[str, dict[str, Any]]:
    """Return the events of a commit that people are notified of, each with its details."""
    events: dict[str, dict[str, Any]] = {}
    if balance.quarantined:
        reasons = sorted({row.reason for row in staged.quarantined})
        folder = names.quarantine_prefix(batch.source, batch.stream, batch.id)
        details = {"rows": balance.quarantined, "reasons": ", ".join(reasons), "folder": folder}
        details["example"] = example(staged.quarantined[0])
        events[names.ROWS_QUARANTINED] = details
    if staged.drift:
        events[names.SCHEMA_DRIFT] = {"drift": "; ".join(str(drift) for drift in staged.drift)}
    if staged.blocked:
        events[names.REPLACEMENT_BLOCKED] = {"why": staged.blocked}
    return events
