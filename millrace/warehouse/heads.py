"""The head of a stream: a head and a batch in, the next head or the error of a lost race out; pure."""

from datetime import datetime, timedelta

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Batch, Staged, split_version
from millrace.domain.errors import HeadMoved
from millrace.domain.ledger import Head

LOOK_BACK = timedelta(days=7)


def next_head(head: Head, batch: Batch, staged: Staged, at: datetime) -> Head:
    """Return the head after the commit, at the time `at`, of a batch that was opened at `head`."""
    newest = max((path.split("/")[3] for path in batch.manifests if names.MANIFEST_PATH.fullmatch(path)), default="")
    reached = max(head.oldest_pending_day, look_back(newest)) if newest else head.oldest_pending_day
    epochs = [*(o.epoch for o in batch.objects), *(split_version(s)[0] for s in batch.snapshots)]
    return Head(
        epoch=batch.head_epoch + 1,
        batch_id=batch.id,
        connection_epoch=max([head.connection_epoch, *epochs]),
        oldest_pending_day=first_day(reached, at),
        floor=staged.floor if staged.revives else max(head.floor, staged.floor),
    )


def overtaken(batch: Batch, head: Head) -> HeadMoved:
    """Return the error of a batch that was opened before another one was committed."""
    return HeadMoved(
        f"batch {batch.id} was opened at epoch {batch.head_epoch} of {batch.source}.{batch.stream}, but the head is at"
        f" {head.epoch}; another batch was committed first, the next run merges the pending rest"
    )


def check_unmoved(contract: StreamContract, before: Head, now: Head) -> None:
    """Raise HeadMoved when a merge was committed between two reads of the head."""
    if now.epoch != before.epoch:
        raise HeadMoved(
            f"{contract.id}: a merge was committed meanwhile, the head went from {before.epoch} to {now.epoch}; nothing"
            " was changed, start it again"
        )


def already_merged(batch: Batch, objects: set[tuple[str, int]]) -> HeadMoved:
    """Return the error of a batch that names objects which are merged already."""
    return HeadMoved(
        f"batch {batch.id} of {batch.source}.{batch.stream}: {len(objects)} of its objects are merged already,"
        f" {min(objects)[0]} first; the next run merges the pending rest"
    )


def first_day(oldest_pending_day: str, now: datetime) -> str:
    """Return the first day to list for pending manifests: a sync that is dated in the future hides none of today."""
    return min(oldest_pending_day, look_back(f"{now:%Y%m%d}"))


def look_back(day: str) -> str:
    """Return a day some days earlier: a manifest may arrive some days after its sync was started."""
    return f"{datetime.strptime(day, '%Y%m%d') - LOOK_BACK:%Y%m%d}"
