"""A staged batch in, its commit in the warehouse and warnings about drift, blocked snapshots and stale rows out."""

import logging
from datetime import datetime

from beam_job.refresh import allow_removal, log_removal, older_objects
from beam_job.reports import discard, log_unbalanced
from beam_job.stale import explain_stale
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance, Batch, Staged
from millrace.domain.errors import BalanceError, BudgetExceeded, HeadMoved
from millrace.lake.store import Lake
from millrace.observability.events import log_event
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)


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
        BudgetExceeded: the commit would cost more than its budget; nothing was committed.
    """
    staged = allow_removal(lake, warehouse, contract.with_columns(staged.columns), batch, staged)
    return commit_allowed(lake, warehouse, contract, batch, staged, run_id=run_id, at=at)


def commit_allowed(
    lake: Lake,
    warehouse: Warehouse,
    contract: StreamContract,
    batch: Batch,
    staged: Staged,
    *,
    run_id: str,
    at: datetime,
) -> Balance:
    """Do the same for a batch of which `allow_removal` said what it removes."""
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
        reason = str(error)
        log_event(log, logging.ERROR, names.OVER_BUDGET, reason, batch_id=batch.id, stream=contract.id, why=reason)
        raise
    if staged.revives:  # older rows that came while it was the floor were stale: they are merged once more
        warehouse.redrive(contract, older_objects(lake, contract, staged), run_id=run_id, at=at)
    _log_commit(lake, contract, batch, staged, balance)
    log_removal(contract, batch, staged, balance)
    return balance


def _log_commit(lake: Lake, contract: StreamContract, batch: Batch, staged: Staged, balance: Balance) -> None:
    """Log the commit, and warnings about drift, a blocked snapshot and stale rows."""
    fields = {"batch_id": batch.id, "stream": contract.id} | balance.model_dump()
    log_event(log, logging.INFO, "merge.committed", **fields)
    if staged.drift:
        drift = "; ".join(str(change) for change in staged.drift)
        log_event(log, logging.WARNING, names.SCHEMA_DRIFT, f"{contract.id}: {drift}", **fields, drift=drift)
    if staged.blocked:
        message = (
            f"the newest snapshot of {contract.id} can not replace the table's rows: {staged.blocked};"
            " fix this and redrive, or sync again"
        )
        log_event(log, logging.ERROR, names.REPLACEMENT_BLOCKED, message, **fields, why=staged.blocked)
    if message := explain_stale(lake, contract, batch, staged, balance):
        log_event(log, logging.WARNING, "merge.stale_storm", message, **fields)
