"""The manifests and objects of a stream in, the lowest versions of the generations that replace older ones out; pure.

An empty snapshot, a manifest without objects, is pending as one object without a name, which no batch contains. So is
a refresh of a cdc or append stream that removed all older rows and found none.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Batch, BatchObject, min_version, split_version
from millrace.domain.landing import LandingManifest


def snapshot_generation(manifest: LandingManifest) -> int:
    """Return Airbyte's generation; a snapshot without one counts as a generation with the number of its job."""
    overwrites = manifest.sync_mode == "overwrite"
    return manifest.generation_id or (manifest.job_id if overwrites else 0)


def empty_snapshot(contract: StreamContract, manifest: LandingManifest, floor: str) -> BatchObject | None:
    """Return what stands for a manifest without objects that empties the table; None if the table is newer.

    The ledger has no object of it: it is pending while its lowest version is above the head's `floor`.
    """
    replaces = manifest.sync_mode == "overwrite" or manifest.older_removed
    if manifest.objects or manifest.outcome != "succeeded" or not replaces:
        return None
    snapshot = BatchObject(
        name="",
        generation=0,
        size=0,
        rows=0,
        job_id=manifest.job_id,
        epoch=manifest.epoch,
        generation_id=snapshot_generation(manifest),
        replaces=manifest.older_removed,
        job_created_at=manifest.job_created_at,
    )
    return snapshot if contract.obeys_empty_snapshots and snapshot.min_version > floor else None


def snapshots(contract: StreamContract, waiting: Mapping[str, Iterable[BatchObject]]) -> tuple[str, ...]:
    """Return the lowest versions of generations that replace a stream's rows whatever the files say.

    Those are the snapshots of successful syncs, and of a cdc or append stream the refreshes without rows.
    """
    if contract.deletes == "ignore":
        return ()
    overwrites = contract.mode == "overwrite"
    own = [o for objects in waiting.values() for o in objects if o.complete and (overwrites or not o.name)]
    return tuple(sorted({o.min_version for o in own}))


def refreshed(waiting: Mapping[str, Iterable[BatchObject]]) -> dict[str, datetime]:
    """Return the lowest versions of whole generations of cdc and append streams, as far as manifests name them, each
    with the time of its first job."""
    known = [o for objects in waiting.values() for o in objects if o.replaces and o.generation_id]
    return {o.min_version: _job_created_at(o) for o in sorted(known, key=_job_created_at, reverse=True)}


def _job_created_at(obj: BatchObject) -> datetime:
    at = obj.job_created_at or datetime.max
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def is_replaced(batch: Batch, obj: BatchObject, contract: StreamContract) -> bool:
    """Return whether a missing object is of an older generation than the newest whole one, so that Airbyte deleted it.

    An object of a cdc or append stream whose manifest names no generation may be of any, unless its job is older. The
    same number in an older epoch is the same generation.
    """
    older = obj.min_version < batch.newest_snapshot
    if contract.mode == "overwrite" or not older:
        return older
    if obj.generation_id:
        return obj.generation_id != split_version(batch.newest_snapshot)[1]
    return batch.refreshed_at is not None and _job_created_at(obj) < batch.refreshed_at


def whole_generations(batch: Batch, reads: Mapping[int, dict[str, Any]]) -> tuple[str, ...]:
    """Return the lowest versions of the generations that the batch's syncs have read to their end, by their rows."""
    numbers = {index: int(report.get("generation", 0)) for index, report in reads.items()}
    found = {min_version(batch.objects[n].epoch, g) for n, g in numbers.items() if g and batch.objects[n].replaces}
    return tuple(sorted(found))


def lowest_version(contract: StreamContract, batch: Batch, reads: Mapping[int, dict[str, Any]]) -> str:
    """Return a lower bound of the versions of a cdc or append stream's rows; empty if some object has none."""
    if contract.mode == "overwrite":
        return ""
    read = {index: report for index, report in reads.items() if report["rows"] > report["ignored"]}
    if any("generation" not in report for report in read.values()):
        return ""
    versions = (min_version(batch.objects[index].epoch, int(report["generation"])) for index, report in read.items())
    return min(versions, default="")
