"""A stream's pending manifests in; its one open batch, fixed before any work and closed before the next, out."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from beam_job.erase import erase, outstanding
from beam_job.refresh import read_to_its_end
from beam_job.reports import discard
from beam_job.snapshots import empty_snapshot, refreshed, snapshot_generation, snapshots
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Batch, BatchObject, Engine, count_rows
from millrace.domain.epochs import highest_epochs
from millrace.domain.errors import ObjectExists, ObjectMissing
from millrace.domain.landing import LandingManifest
from millrace.domain.ledger import Head
from millrace.lake.manifests import list_manifests, read_manifest
from millrace.lake.store import Lake
from millrace.observability.events import log_event
from millrace.warehouse import heads
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)

ENGINES: tuple[Engine, ...] = ("plain", "in-process", "dataflow")
UNLIMITED = 1 << 62


@dataclass(frozen=True)
class Limits:
    """Limits of a batch in bytes and files, and the sizes up to which it runs without Beam, and in-process.

    The latter are limits of bytes and of rows, as the engines of one machine need disk for each row, however few bytes
    it has: 127 bytes, measured.
    """

    max_bytes: int = 4 << 30
    max_files: int = 10_000
    plain_max_bytes: int = 4 << 30
    in_process_max_bytes: int = 4 << 30
    plain_max_rows: int = UNLIMITED
    in_process_max_rows: int = UNLIMITED

    def engine(self, size: int, rows: int) -> Engine:
        """Choose the engine for a batch of `size` bytes and a number of rows; all engines give the same result."""
        if size <= self.plain_max_bytes and rows <= self.plain_max_rows:
            return "plain"
        fits = size <= self.in_process_max_bytes and rows <= self.in_process_max_rows
        return "in-process" if fits else "dataflow"

    def enlarge(self, batch: Batch) -> Batch:
        """Return the batch with a larger engine when it exceeds the limits of the one that it was opened with."""
        engine = self.engine(batch.bytes, batch.rows)
        return batch.model_copy(update={"engine": max(engine, batch.engine, key=ENGINES.index)})


def pending(
    lake: Lake,
    warehouse: Warehouse,
    contract: StreamContract,
    *,
    full_scan: bool = False,
    now: datetime | None = None,
) -> list[str]:
    """Return outstanding erasures, then manifests of the open batch and those with objects that the ledger lacks.

    Manifests are listed from the head's `oldest_pending_day` on, or from a week before `now` (by default the time of
    the call) if that is earlier; `full_scan` lists all, however late one came.
    """
    batch = under_way(lake, contract)
    with warehouse.session(f"list pending manifests of {contract.id}"):
        waiting = _pending(lake, warehouse, contract, warehouse.head(contract), full_scan=full_scan, now=now)
        erasures = outstanding(lake, warehouse, contract)
    return list(dict.fromkeys([*erasures, *(batch.manifests if batch else ()), *waiting]))


def under_way(lake: Lake, contract: StreamContract) -> Batch | None:
    """Return the stream's open batch."""
    current = _read_open(lake, contract.source, contract.stream)
    return current[0] if current else None


def _pending(
    lake: Lake,
    warehouse: Warehouse,
    contract: StreamContract,
    head: Head,
    *,
    full_scan: bool,
    now: datetime | None = None,
) -> dict[str, list[BatchObject]]:
    """Return the pending objects, by manifest: of those that name an object, by one with the highest epoch."""
    since = "" if full_scan else heads.first_day(head.oldest_pending_day, now or datetime.now(UTC))
    listed = list_manifests(lake, contract.source, contract.stream, since)
    paths = sorted({*listed, *warehouse.redriven_manifests(contract)})
    manifests = {path: read_manifest(lake, path) for path in paths}
    pairs = [(o.name, o.generation) for m in manifests.values() for o in m.objects]
    merged = warehouse.merged_objects(contract, pairs) if pairs else set()
    newest: dict[str, int] = {}
    for name, generation in pairs:
        newest[name] = max(generation, newest.get(name, generation))
    epochs = highest_epochs(manifests.values())
    done = {path: m for path, m in manifests.items() if all((o.name, o.generation) in merged for o in m.objects)}
    waiting: dict[str, list[BatchObject]] = {}
    for path in sorted(set(manifests) - set(done)):
        replaces = read_to_its_end(lake, contract, manifests[path], done.values())
        found = _objects(manifests[path], merged, newest, replaces)
        waiting[path] = [o for o in found if o.epoch == epochs[o.name, o.generation]]
    waiting |= {path: [o] for path, m in manifests.items() if (o := empty_snapshot(contract, m, head.floor))}
    return {path: objects for path, objects in waiting.items() if objects}


def _objects(
    manifest: LandingManifest, merged: set[tuple[str, int]], newest: Mapping[str, int], replaces: bool
) -> Iterable[BatchObject]:
    """Yield the objects of a manifest that are not merged; `newest` are the newest generations that manifests name."""
    for o in manifest.objects:
        if (o.name, o.generation) in merged:
            continue
        yield BatchObject(
            name=o.name,
            generation=o.generation,
            size=o.size,
            rows=o.rows,
            job_id=manifest.job_id,
            epoch=manifest.epoch,
            generation_id=snapshot_generation(manifest),
            complete=manifest.sync_mode != "overwrite" or manifest.outcome == "succeeded",
            replaced=newest[o.name] > o.generation,
            replaces=replaces,
            job_created_at=manifest.job_created_at,
        )


def open_batch(
    lake: Lake,
    warehouse: Warehouse,
    contract: StreamContract,
    *,
    limits: Limits,
    now: datetime,
    full_scan: bool = False,
) -> Batch | None:
    """Return the open batch, or open one of all pending manifests up to the limits; None if nothing is pending.

    Requested erasures are done first, so that no merge brings the rows of erased keys back.

    An open batch is returned even if it is committed: a second commit changes nothing, and it is then announced and
    closed.
    """
    erase(lake, warehouse, contract, now)
    with warehouse.session(f"list pending manifests of {contract.id}", contract):
        batch, opened = _open_batch(lake, warehouse, contract, limits, now, full_scan=full_scan)
    if batch:
        event = "merge.opened" if opened else "merge.resumed"
        _log(event, batch)
    return batch


def _open_batch(
    lake: Lake, warehouse: Warehouse, contract: StreamContract, limits: Limits, now: datetime, *, full_scan: bool
) -> tuple[Batch | None, bool]:
    """Return the batch, and whether it is new."""
    head = warehouse.head(contract)
    current = _read_open(lake, contract.source, contract.stream)
    if current:
        batch, generation = current
        if batch.head_epoch == head.epoch or warehouse.balance(batch):
            return limits.enlarge(batch), False
        discard(lake, batch)
        lake.delete(names.open_batch_path(contract.source, contract.stream), generation)  # the head moved since
    waiting = _pending(lake, warehouse, contract, head, full_scan=full_scan, now=now)
    if not waiting:
        return None, False
    batch = cut(contract, head, waiting, limits, now)
    batch = batch.model_copy(update={"learned": warehouse.evolved_columns(contract), "staging": warehouse.staging})
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
    """Return a batch of the oldest manifests up to the limits, at least one, with each object once."""
    manifests: list[str] = []
    objects: dict[tuple[str, int], BatchObject] = {}
    for path in sorted(waiting):
        number = len(manifests)
        added = {(o.name, o.generation): o.model_copy(update={"manifest": number}) for o in waiting[path] if o.name}
        size = sum(o.size for o in (objects | added).values())
        if manifests and (size > limits.max_bytes or len(objects | added) > limits.max_files):
            break
        manifests.append(path)
        objects = added | objects  # of two manifests that name an object the older one counts, in one batch or in two
    identity = json.dumps([head.epoch, sorted(objects) or manifests]).encode()
    size = sum(o.size for o in objects.values())
    refreshes = refreshed(waiting)
    newest = max([head.floor, *snapshots(contract, waiting), *refreshes])
    return Batch(
        id=f"{contract.source}-{contract.stream}-{hashlib.sha256(identity).hexdigest()[:12]}",
        source=contract.source,
        stream=contract.stream,
        engine=limits.engine(size, count_rows(objects.values())),
        manifests=tuple(manifests),
        objects=tuple(objects[key] for key in sorted(objects)),
        head_epoch=head.epoch,
        opened_at=now,
        snapshots=snapshots(contract, {path: waiting[path] for path in manifests}),
        newest_snapshot=newest,
        floor=head.floor,
        refreshed_at=refreshes.get(newest),
    )


def close_batch(lake: Lake, batch: Batch) -> None:
    """Delete a committed and announced batch's files and then the batch itself, so that the next one may be opened."""
    discard(lake, batch)
    current = _read_open(lake, batch.source, batch.stream)
    if current and current[0].id == batch.id:
        lake.delete(names.open_batch_path(batch.source, batch.stream), current[1])


def _read_open(lake: Lake, source: str, stream: str) -> tuple[Batch, int] | None:
    path = names.open_batch_path(source, stream)
    info = lake.stat(path)
    try:
        return (Batch.model_validate_json(lake.read(path, info.generation)), info.generation) if info else None
    except ObjectMissing:
        return None  # another process closed it


def _log(event: str, batch: Batch) -> None:
    files, size, engine = len(batch.objects), batch.bytes, batch.engine
    log_event(log, logging.INFO, event, batch_id=batch.id, files=files, bytes=size, engine=engine)
