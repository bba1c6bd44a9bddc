"""A staged batch that read a generation to its end in; whether the rows of older generations may be removed, out.

All of it happens only when the newest whole generation rises, which is when Airbyte has refreshed a stream.
"""

import logging
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from beam_job.steps.files import DataFile
from beam_job.steps.rows import GENERATION_ID, column_types
from beam_job.steps.versions import lowest_generation
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch, BatchObject, Staged, min_version, split_version
from millrace.domain.errors import FileRejected
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.lake.manifests import list_manifests, read_manifest
from millrace.lake.store import Lake
from millrace.observability.events import log_event
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)

Key = tuple[str, int]  # the name of an object, and its generation in the lake
MOST_TRIED = 20  # files of one sync that are read to find its generation


@dataclass(frozen=True)
class Refused:
    """An object with rows in quarantine: why, and what its sync read. Without a readable file `number` is 0."""

    name: str
    reason: str
    epoch: int
    number: int
    job_created_at: datetime


def allow_removal(lake: Lake, warehouse: Warehouse, contract: StreamContract, batch: Batch, staged: Staged) -> Staged:
    """Return the staged batch with the newest floor that may remove older rows, and the reason why a newer one may not.

    A generation removes nothing while a row or file of it is in quarantine: its key would be lost. The next batch of
    the generation tries again.
    """
    if contract.mode == "overwrite" or staged.floor <= batch.floor:
        return staged
    refused = _refused(lake, warehouse, contract, batch, staged)
    blocked = staged.blocked
    for snapshot in sorted(staged.snapshots, reverse=True):
        floor = _began(lake, contract, batch, snapshot)
        if floor <= batch.floor:
            continue
        blocker = _blocker(lake, contract, batch, snapshot, floor, refused)
        if blocker is None:
            return staged.model_copy(update={"floor": floor, "snapshots": (floor,), "blocked": blocked})
        blocked = blocked or f"{blocker.name}: {blocker.reason}"
    return staged.model_copy(update={"floor": "", "snapshots": (), "blocked": blocked})


def log_removal(contract: StreamContract, batch: Batch, staged: Staged, balance: Balance) -> None:
    """Log how many rows of older generations were removed."""
    if contract.mode != "overwrite" and staged.floor > batch.floor:
        removed, (epoch, generation) = balance.tombstoned_by_absence, split_version(staged.floor)
        message = f"{contract.id} was refreshed: {removed} rows of generations before {generation} were removed"
        fields = {"batch_id": batch.id, "stream": contract.id, "epoch": epoch, "generation": generation}
        log_event(log, logging.INFO, "merge.older_removed", message, **fields, removed=removed)


def read_to_its_end(
    lake: Lake, contract: StreamContract, manifest: LandingManifest, merged: Iterable[LandingManifest]
) -> bool:
    """Return whether a pending sync, or a later one of the `merged`, read a generation to its end, so that older go.

    A later one matters for mended files of a failed sync, which may be the last that its generation waits for.
    """
    if manifest.outcome == "succeeded":
        return contract.removes_older(manifest.older_removed)
    ended = [m for m in merged if m.outcome == "succeeded" and m.job_created_at > manifest.job_created_at]
    own = [m for m in ended if m.connection_id == manifest.connection_id and contract.removes_older(m.older_removed)]
    number = generation_of(lake, contract, manifest) if own else 0
    return bool(number) and any(generation_of(lake, contract, m) == number for m in own)


def _refused(lake: Lake, warehouse: Warehouse, contract: StreamContract, batch: Batch, staged: Staged) -> list[Refused]:
    """Return the objects with rows in quarantine, of this batch and of earlier ones, by name."""
    newest: dict[str, int] = {}
    for o in batch.objects:
        newest[o.name] = max(o.generation, newest.get(o.name, 0))
    mended = {(o.name, o.generation) for o in batch.objects if o.replaced or newest[o.name] > o.generation}
    reasons = {(q.object, q.generation): q.reason for q in reversed(staged.quarantined)}
    for q in warehouse.quarantined_objects(contract):
        if newest.get(q.object, 0) < q.generation:
            reasons[q.object, q.generation] = q.reasons
    reasons = {key: reason for key, reason in sorted(reasons.items()) if key not in mended}
    manifests = _manifests_of(lake, contract, batch, set(reasons))
    return [
        Refused(
            name=key[0],
            reason=reasons[key],
            epoch=manifest.epoch,
            number=generation_of(lake, contract, manifest, key),
            job_created_at=manifest.job_created_at,
        )
        for key, manifest in manifests.items()
    ]


def _manifests_of(lake: Lake, contract: StreamContract, batch: Batch, keys: set[Key]) -> dict[Key, LandingManifest]:
    """Return the manifest that names each object, in the batch or else in the lake; of several the highest epoch's."""
    found: dict[Key, LandingManifest] = {}
    for lists in (lambda: batch.manifests, lambda: list_manifests(lake, contract.source, contract.stream)):
        left = keys - set(found)
        for path in lists() if left else ():
            manifest = read_manifest(lake, path)
            for key in left & {(o.name, o.generation) for o in manifest.objects}:
                if key not in found or found[key].epoch < manifest.epoch:
                    found[key] = manifest
    return dict(sorted(found.items()))


def _blocker(
    lake: Lake, contract: StreamContract, batch: Batch, snapshot: str, floor: str, refused: list[Refused]
) -> Refused | None:
    """Return the first refused object that a generation may contain.

    One whose generation no file tells may belong to it if its job is not older than the generation's jobs.
    """
    (last_epoch, number), (first_epoch, _) = split_version(snapshot), split_version(floor)
    if not refused:
        return None
    manifests = [m for path in batch.manifests if (m := read_manifest(lake, path)).epoch == last_epoch]
    began = min((m.job_created_at for m in manifests if generation_of(lake, contract, m) == number), default=None)
    for o in refused:
        unknown = not o.number and (began is None or o.job_created_at >= began)
        if first_epoch <= o.epoch <= last_epoch and (unknown or o.number == number):
            return o
    return None


def _began(lake: Lake, contract: StreamContract, batch: Batch, snapshot: str) -> str:
    """Return the lowest version of a generation's rows: those that it had before the connection's epoch was raised.

    The same number in another connection is another generation.
    """
    epoch, number = split_version(snapshot)
    if not epoch:
        return snapshot
    manifests = [read_manifest(lake, path) for path in batch.manifests]
    connections = {m.connection_id for m in manifests if m.epoch == epoch and m.outcome == "succeeded"}
    for connection in sorted(connections):
        epoch = min(epoch, _first_epoch(lake, contract, connection, epoch, number))
    return min_version(epoch, number)


def _first_epoch(lake: Lake, contract: StreamContract, connection: str, epoch: int, number: int) -> int:
    """Return the epoch in which a generation of a connection began; a connection's epochs and generations only rise."""
    own = re.compile(rf".*/{re.escape(connection)}-\d+\.json")
    paths = [path for path in list_manifests(lake, contract.source, contract.stream) if own.fullmatch(path)]
    while (before := bisect_left(paths, epoch, key=lambda path: read_manifest(lake, path).epoch)) > 0:
        manifest = read_manifest(lake, paths[before - 1])
        if generation_of(lake, contract, manifest) != number:
            break
        epoch = manifest.epoch
    return epoch


def generation_of(lake: Lake, contract: StreamContract, manifest: LandingManifest, first: Key | None = None) -> int:
    """Return Airbyte's generation of a sync, by its manifest or else by its first readable file; 0 if none tells."""
    if manifest.generation_id:
        return manifest.generation_id
    objects = sorted(manifest.objects, key=lambda o: (o.name, o.generation) != first)
    return next((number for o in objects[:MOST_TRIED] for number in _read_numbers(lake, contract, manifest, o)), 0)


def _read_numbers(
    lake: Lake, contract: StreamContract, manifest: LandingManifest, landed: LandedObject
) -> Iterator[int]:
    """Yield the lowest generation of each part of a file; none if the file can't be read."""
    obj = BatchObject(**landed.model_dump(), job_id=manifest.job_id, epoch=manifest.epoch, generation_id=0)
    try:
        for _, table in DataFile(lake, obj, column_types(contract)).chunks([GENERATION_ID]):
            if table.num_rows:
                yield lowest_generation(table, contract, obj)
    except FileRejected:
        return
