"""What is pending of a stream, and the one batch that is under way: fixed before any work, finished before the next."""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from beam_job.erase import erase, outstanding
from beam_job.reports import discard
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Batch, BatchObject
from millrace.domain.landing import LandingManifest
from millrace.domain.ledger import Head
from millrace.lake.manifests import read_manifest
from millrace.lake.store import Lake, ObjectExists, ObjectMissing
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)

Engine = Literal["plain", "in-process", "dataflow"]


@dataclass(frozen=True)
class Limits:
    """Caps of one batch in bytes and files, and up to which size it is merged without Beam, and by Beam in process."""

    max_bytes: int = 4 << 30
    max_files: int = 10_000
    plain_max_bytes: int = 4 << 30
    in_process_max_bytes: int = 4 << 30

    def engine(self, size: int) -> Engine:
        """What a batch of so many bytes is deduplicated by; all give the same result."""
        if size <= self.plain_max_bytes:
            return "plain"
        return "in-process" if size <= self.in_process_max_bytes else "dataflow"


def pending(lake: Lake, warehouse: Warehouse, contract: StreamContract, *, audit: bool = False) -> list[str]:
    """Manifests with objects that the ledger lacks, oldest first; also those of a batch under way.

    Requests to erase keys that are not done yet come first.

    Manifests are listed from the head's `oldest_pending_day` on; with `audit` all are, however late one came.
    """
    batch = under_way(lake, contract)
    with warehouse.session(f"look for what is pending of {contract.id}"):
        found = _pending(lake, warehouse, contract, warehouse.head(contract), audit=audit)
        erasures = outstanding(lake, warehouse, contract)
    return list(dict.fromkeys([*erasures, *(batch.manifests if batch else ()), *found]))


def under_way(lake: Lake, contract: StreamContract) -> Batch | None:
    """The stream's open batch."""
    there = _read_open(lake, contract.source, contract.stream)
    return there[0] if there else None


def _pending(
    lake: Lake, warehouse: Warehouse, contract: StreamContract, head: Head, *, audit: bool
) -> dict[str, list[BatchObject]]:
    """Objects that wait, by manifest."""
    prefix = names.manifests_prefix(contract.source, contract.stream)
    start = None if audit else f"{prefix}{head.oldest_pending_day}"
    listed = [info.name for info in lake.list(prefix, start=start)]
    paths = sorted({*listed, *warehouse.redriven(contract)})
    manifests = {path: read_manifest(lake, path) for path in paths}
    pairs = [(o.name, o.generation) for m in manifests.values() for o in m.objects]
    done = warehouse.merged_objects(contract, pairs) if pairs else set()
    waiting = {path: list(_objects(m, done)) for path, m in manifests.items()}
    return {path: objects for path, objects in waiting.items() if objects}


def _objects(manifest: LandingManifest, done: set[tuple[str, int]]) -> Iterable[BatchObject]:
    for o in manifest.objects:
        if (o.name, o.generation) not in done:
            yield BatchObject(
                name=o.name,
                generation=o.generation,
                size=o.size,
                rows=o.rows,
                job_id=manifest.job_id,
                epoch=manifest.epoch,
                generation_id=_generation(manifest),
                complete=manifest.sync_mode != "overwrite" or manifest.outcome == "succeeded",
            )


def _generation(manifest: LandingManifest) -> int:
    """Airbyte's generation; a snapshot without one is a generation of its own, numbered by its job."""
    overwrites = manifest.sync_mode == "overwrite"
    return manifest.generation_id or (manifest.job_id if overwrites else 0)


def open_batch(
    lake: Lake,
    warehouse: Warehouse,
    contract: StreamContract,
    *,
    limits: Limits,
    now: datetime,
    audit: bool = False,
) -> Batch | None:
    """The batch under way, or a new one of all that is pending (see there) up to the caps; None when nothing is.

    Keys that are to be erased are erased first, so that no merge brings their rows.

    A batch under way is given back even when it is committed already: committing it again changes nothing, and it is
    then announced and closed.
    """
    erase(lake, warehouse, contract, now)
    with warehouse.session(f"look for what is pending of {contract.id}", contract):
        batch, opened = _open_batch(lake, warehouse, contract, limits, now, audit=audit)
    if batch:
        _log("merge.opened" if opened else "merge.resumed", batch)
    return batch


def _open_batch(
    lake: Lake, warehouse: Warehouse, contract: StreamContract, limits: Limits, now: datetime, *, audit: bool
) -> tuple[Batch | None, bool]:
    """The batch, and whether it is a new one."""
    head = warehouse.head(contract)
    there = _read_open(lake, contract.source, contract.stream)
    if there:
        batch, generation = there
        if batch.head_epoch == head.epoch or warehouse.balance(batch.id):
            return batch, False
        discard(lake, batch)
        lake.delete(names.open_batch_path(contract.source, contract.stream), generation)  # it lost to another committer
    waiting = _pending(lake, warehouse, contract, head, audit=audit)
    if not waiting:
        return None, False
    batch = cut(contract, head, waiting, limits, now)
    batch = batch.model_copy(update={"learned": warehouse.learned(contract), "staging": warehouse.staging})
    try:
        lake.create(names.open_batch_path(contract.source, contract.stream), batch.model_dump_json().encode())
    except ObjectExists:
        return under_way(lake, contract), False
    return batch, True


def cut(
    contract: StreamContract,
    head: Head,
    waiting: dict[str, list[BatchObject]],
    limits: Limits,
    now: datetime,
) -> Batch:
    """The oldest manifests up to the caps, at least one; each object once."""
    manifests: list[str] = []
    objects: dict[tuple[str, int], BatchObject] = {}
    for path in sorted(waiting):
        more = {(o.name, o.generation): o for o in waiting[path]}
        size = sum(o.size for o in (objects | more).values())
        if manifests and (size > limits.max_bytes or len(objects | more) > limits.max_files):
            break
        manifests.append(path)
        objects = more | objects  # an object that two manifests name is the older one's, in one batch or in two
    identity = json.dumps([head.epoch, sorted(objects)]).encode()
    size = sum(o.size for o in objects.values())
    return Batch(
        id=f"{contract.source}-{contract.stream}-{hashlib.sha256(identity).hexdigest()[:12]}",
        source=contract.source,
        stream=contract.stream,
        engine=limits.engine(size),
        manifests=tuple(manifests),
        objects=tuple(objects[key] for key in sorted(objects)),
        head_epoch=head.epoch,
        opened_at=now,
        snapshots=snapshots(contract, {path: waiting[path] for path in manifests}),
        newest_snapshot=max([head.floor, *snapshots(contract, waiting)]),
    )


def snapshots(contract: StreamContract, waiting: dict[str, list[BatchObject]]) -> tuple[str, ...]:
    """Floors of the generations that replace an overwrite stream's rows: those of syncs that succeeded."""
    if contract.mode != "overwrite" or contract.deletes == "ignore":
        return ()
    return tuple(sorted({o.floor for objects in waiting.values() for o in objects if o.complete}))


def close_batch(lake: Lake, batch: Batch) -> None:
    """End a batch that is committed and announced: the next may be opened. Last of all, so that nothing is left."""
    discard(lake, batch)
    there = _read_open(lake, batch.source, batch.stream)
    if there and there[0].id == batch.id:
        lake.delete(names.open_batch_path(batch.source, batch.stream), there[1])


def _read_open(lake: Lake, source: str, stream: str) -> tuple[Batch, int] | None:
    path = names.open_batch_path(source, stream)
    info = lake.stat(path)
    try:
        return (Batch.model_validate_json(lake.read(path, info.generation)), info.generation) if info else None
    except ObjectMissing:
        return None  # closed meanwhile


def _log(event: str, batch: Batch) -> None:
    fields = {"batch_id": batch.id, "files": len(batch.objects), "bytes": batch.bytes, "engine": batch.engine}
    log.info(event, extra={"event": event, "fields": fields})
