"""Merges a staged batch into the warehouse, in one transaction with head and ledger."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.events import emit_event

from beam_job.commit import commit_batch as commit_staged
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance, Batch, Staged
from millrace.domain.errors import HeadMoved
from millrace.domain.ledger import LedgerEntry
from tasks.context import open_lake, open_warehouse, run_id, stream_contract
from tasks.retries import DELAYS_S, is_transient

log = logging.getLogger(__name__)

REASON = 500


@task(
    task_run_name="commit {batch.id}",
    tags=[names.STEP_TAG],
    retries=3,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def commit_batch(batch: Batch, staged: Staged) -> Balance | None:
    """Commit a batch; the same batch again gives the same balance. None when another committer won the stream.

    Raises:
        BalanceError: rows do not add up; nothing was committed.
    """
    contract, at = stream_contract(batch.source, batch.stream), datetime.now(UTC)
    try:
        balance = commit_staged(open_lake(), open_warehouse(), contract, batch, staged, run_id=run_id(), at=at)
    except HeadMoved as error:
        log.warning("merge.lost", extra={"event": "merge.lost", "fields": {"batch_id": batch.id, "why": str(error)}})
        return None
    create_table_artifact(
        [{"files": len(batch.objects)} | balance.model_dump()],
        key=f"merged-{batch.source}-{batch.stream}".replace("_", "-"),
        description=f"Batch `{batch.id}` of **{batch.source}.{batch.stream}**: rows in = merged + superseded + stale"
        " + quarantined",
    )
    for event, facts in to_report(batch, staged, balance).items():
        own = {"v": 1, "source": batch.source, "stream": batch.stream, "batch_id": batch.id, "run_id": run_id()}
        resource = {"prefect.resource.id": names.stream_resource(batch.source, batch.stream)}
        resource["millrace.reason"] = str(facts.get("reasons") or facts.get("drift") or facts.get("why") or "")[:REASON]
        emit_event(event, resource=resource, payload=own | facts)
    if contract.freshness_s:
        _emit_merged(contract, batch, balance, at)
    return balance


def _emit_merged(contract: StreamContract, batch: Batch, balance: Balance, at: datetime) -> None:
    """Tell that a stream has new data, and whether it had none for longer than its contract allows."""
    recent = open_warehouse().ledger(at - timedelta(seconds=contract.freshness_s or 0), ("merged",))
    emit_event(
        names.STREAM_MERGED,
        resource={
            "prefect.resource.id": names.stream_resource(batch.source, batch.stream),
            "millrace.stale": "yes" if was_stale(recent, batch) else "no",
        },
        payload={"v": 1, "source": batch.source, "stream": batch.stream, "rows": balance.merged, "run_id": run_id()},
    )


def was_stale(recent: Iterable[LedgerEntry], batch: Batch) -> bool:
    """Whether a batch that is not its stream's first is the only merge of it among the recent ones."""
    of_stream = (e for e in recent if (e.source, e.stream) == (batch.source, batch.stream))
    return batch.head_epoch > 0 and all(e.batch_id == batch.id for e in of_stream)


def to_report(batch: Batch, staged: Staged, balance: Balance) -> dict[str, dict[str, Any]]:
    """Events that tell the automations what a commit met, with their facts."""
    events: dict[str, dict[str, Any]] = {}
    if balance.quarantined:
        reasons = sorted({row.reason for row in staged.quarantined})
        folder = names.quarantine_prefix(batch.source, batch.stream, batch.id)
        facts = {"rows": balance.quarantined, "reasons": ", ".join(reasons), "folder": folder}
        events[names.ROWS_QUARANTINED] = facts
    if staged.drift:
        events[names.SCHEMA_DRIFT] = {"drift": "; ".join(str(drift) for drift in staged.drift)}
    if staged.blocked:
        events[names.REPLACEMENT_BLOCKED] = {"why": staged.blocked}
    return events
