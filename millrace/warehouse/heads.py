"""How a stream's head moves with a commit; pure."""

from datetime import datetime, timedelta

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Batch, Staged
from millrace.domain.errors import HeadMoved
from millrace.domain.ledger import Head

LOOK_BACK = timedelta(days=7)


def advanced(seen: Head, batch: Batch, staged: Staged) -> Head:
    """The head after a batch that was opened at this one."""
    newest = max((path.split("/")[3] for path in batch.manifests if names.parse_manifest_path(path)), default="")
    return Head(
        epoch=batch.head_epoch + 1,
        batch_id=batch.id,
        connection_epoch=max([seen.connection_epoch, *(o.epoch for o in batch.objects)]),
        oldest_pending_day=max(seen.oldest_pending_day, _days_before(newest)) if newest else seen.oldest_pending_day,
        floor=max(seen.floor, staged.floor),
    )


def moved(batch: Batch, seen: Head) -> HeadMoved:
    """The error of a batch that another one overtook."""
    return HeadMoved(
        f"batch {batch.id} was opened at epoch {batch.head_epoch} of {batch.source}.{batch.stream}, but the head is at"
        f" {seen.epoch}; another committer won, what is still pending is merged by the next run"
    )


def refuse_moved(contract: StreamContract, seen: Head, now: Head) -> None:
    """Refuse to go on with what was made of a table that a merge has changed since. Raises HeadMoved."""
    if now.epoch != seen.epoch:
        raise HeadMoved(
            f"{contract.id}: a merge was committed meanwhile, the head went from {seen.epoch} to {now.epoch}; nothing"
            " was changed, start it again"
        )


def merged_already(batch: Batch, again: set[tuple[str, int]]) -> HeadMoved:
    """The error of a batch of which some objects are merged."""
    return HeadMoved(
        f"batch {batch.id} of {batch.source}.{batch.stream}: {len(again)} of its objects are merged already,"
        f" {min(again)[0]} first; what is still pending is merged by the next run"
    )


def _days_before(day: str) -> str:
    """A manifest may come some days after its sync was started: look back that far for pending ones."""
    return (datetime.strptime(day, "%Y%m%d") - LOOK_BACK).strftime("%Y%m%d")
