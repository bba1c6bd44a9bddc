"""Commits a staged batch, and tells when many of its rows were older than what the table has."""

import logging
from datetime import datetime

from beam_job.reports import discard, log_unbalanced
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance, Batch, Staged
from millrace.domain.errors import BalanceError, BudgetExceeded, HeadMoved
from millrace.lake.store import Lake
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)

STORM_SHARE, STORM_ROWS = 0.5, 100


def commit_batch(
    lake: Lake,
    warehouse: Warehouse,
    contract: StreamContract,
    batch: Batch,
    staged: Staged,
    *,
    run_id: str,
    at: datetime,
) -> Balance:
    """Merge a staged batch; the same batch again gives the same balance.

    Raises:
        HeadMoved: another batch was committed since this one was opened.
        BalanceError: the rows do not add up; nothing was committed.
        BudgetExceeded: it would cost more than it may; nothing was committed.
    """
    contract = contract.with_columns(staged.columns)
    try:
        balance = warehouse.commit(contract, batch, staged, lake, run_id=run_id, at=at)
    except HeadMoved:
        discard(lake, batch, staged.attempt)
        raise
    except BalanceError as error:
        log_unbalanced(batch, error)
        raise
    except BudgetExceeded as error:
        fields = {"batch_id": batch.id, "stream": contract.id, "why": str(error)}
        log.error("%s: %s", names.OVER_BUDGET, error, extra={"event": names.OVER_BUDGET, "fields": fields})
        raise
    _tell(contract, batch, staged, balance)
    return balance


def _tell(contract: StreamContract, batch: Batch, staged: Staged, balance: Balance) -> None:
    """Log the commit, and what a person should know of it."""
    fields = {"batch_id": batch.id, "stream": contract.id} | balance.model_dump()
    log.info("merge.committed", extra={"event": "merge.committed", "fields": fields})
    if staged.drift:
        told = "; ".join(str(drift) for drift in staged.drift)
        extra = {"event": names.SCHEMA_DRIFT, "fields": fields | {"drift": told}}
        log.warning("%s: %s: %s", names.SCHEMA_DRIFT, contract.id, told, extra=extra)
    if staged.blocked:
        log.error(
            "%s: the newest snapshot of %s can't replace the table's rows, as %s; mend it and redrive, or sync again",
            names.REPLACEMENT_BLOCKED,
            contract.id,
            staged.blocked,
            extra={"event": names.REPLACEMENT_BLOCKED, "fields": fields | {"why": staged.blocked}},
        )
    if is_stale_storm(balance):
        log.warning(
            "merge.stale_storm: %d of %d rows of %s are older than the table; was the source restored or the"
            " connection made anew? Raise the stream's connection epoch",
            balance.stale,
            balance.rows_in,
            contract.id,
            extra={"event": "merge.stale_storm", "fields": fields},
        )


def is_stale_storm(balance: Balance) -> bool:
    """Whether so many rows are stale that the source's log must have started over."""
    return balance.rows_in >= STORM_ROWS and balance.stale > STORM_SHARE * balance.rows_in
