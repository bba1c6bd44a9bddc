"""A staged batch that read a generation to its end in; whether the rows of older generations may be removed, out.

The decision depends on the merged syncs alone, not on the order in which they were merged: a sync that comes late, and
has rows in quarantine of a generation whose older rows are gone, brings those back.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from beam_job.generations import Key, floor_of, generation_of, is_later, merged_of, read_manifests, span_of
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch, Staged, min_version, split_version
from millrace.domain.landing import LandingManifest
from millrace.lake.manifests import list_manifests, read_manifest
from millrace.lake.store import Lake
from millrace.observability.events import log_event
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refused:
    """An object with rows in quarantine: why, and what its sync read. Without a readable file `number` is 0."""

    name: str
    reason: str
    epoch: int
    number: int
    job_created_at: datetime


@dataclass(frozen=True)
class Whole:
    """A generation that was read to its end: its version in its newest epoch, and the connections that read it."""

    snapshot: str
    connections: frozenset[str]


def allow_removal(lake: Lake, warehouse: Warehouse, contract: StreamContract, batch: Batch, staged: Staged) -> Staged:
    """Return the staged batch with the newest floor that may remove older rows, and the reason why a newer one may not.

    A generation removes nothing while a row or file that it was read from is in quarantine: its key would be lost. The
    next batch of the generation tries again. If such a row comes after the removal, `revives` is the floor that falls.
    """
    if contract.mode == "overwrite":
        return staged
    blocked = staged.blocked
    if staged.floor > batch.floor:
        refused = _refused(lake, warehouse, contract, batch, staged)
        whole = _whole_of_batch(lake, batch, staged)
        floor, reason = _newest_allowed(lake, warehouse, contract, batch, whole, refused, above=batch.floor)
        blocked = blocked or reason
        if floor:
            return staged.model_copy(update={"floor": floor, "snapshots": (floor,), "blocked": blocked})
    if reason := _late_blocker(lake, warehouse, contract, batch, staged):
        floor = _floor_before(lake, warehouse, contract, batch, staged)
        floors = (floor,) if floor else ()
        update = {"floor": floor, "snapshots": floors, "blocked": blocked or reason, "revives": batch.floor}
        return staged.model_copy(update=update)
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


def older_objects(lake: Lake, contract: StreamContract, staged: Staged) -> list[tuple[str, str, int]]:
    """Return manifest, name and generation of each object whose rows may have been stale before `staged.revives` fell.

    Only those that are still in the lake.
    """
    objects = []
    for path in list_manifests(lake, contract.source, contract.stream) if staged.revives else ():
        manifest = read_manifest(lake, path)
        if min_version(manifest.epoch, generation_of(lake, contract, manifest)) < staged.revives:
            objects += [(path, o.name, o.generation) for o in manifest.objects if _exists(lake, o.name, o.generation)]
    return objects


def _exists(lake: Lake, name: str, generation: int) -> bool:
    info = lake.stat(name)
    return info is not None and info.generation == generation


def _whole_of_batch(lake: Lake, batch: Batch, staged: Staged) -> list[Whole]:
    """Return the generations that the batch's syncs read to their end."""
    ended = [m for m in (read_manifest(lake, path) for path in batch.manifests) if m.outcome == "succeeded"]
    return [
        Whole(s, frozenset(m.connection_id for m in ended if m.epoch == split_version(s)[0])) for s in staged.snapshots
    ]


def _newest_allowed(
    lake: Lake,
    warehouse: Warehouse,
    contract: StreamContract,
    batch: Batch,
    whole: Iterable[Whole],
    refused: list[Refused],
    above: str = "",
) -> tuple[str, str]:
    """Return the newest floor, `above` another one, of a whole generation without rows in quarantine, or "".

    And the reason why a newer one is not allowed.
    """
    reason = ""
    for generation in sorted(whole, key=lambda w: w.snapshot, reverse=True):
        if above < generation.snapshot in batch.snapshots:  # a refresh without rows has none in quarantine
            return generation.snapshot, reason
        floor = floor_of(lake, contract, generation.connections, generation.snapshot)
        if floor <= above:
            continue
        blocker = _blocker(lake, warehouse, contract, batch, generation.snapshot, floor, refused)
        if blocker is None:
            return floor, reason
        reason = reason or f"{blocker.name}: {blocker.reason}"
    return "", reason


def _late_blocker(lake: Lake, warehouse: Warehouse, contract: StreamContract, batch: Batch, staged: Staged) -> str:
    """Return why the batch's own rows in quarantine forbid what the generation of the head's floor has removed."""
    if not (batch.floor and staged.quarantined):
        return ""
    refused = _located(lake, contract, batch, _reasons_of_batch(batch, staged))
    refused = [o for o in refused if not is_later(lake, warehouse, contract, batch, o.job_created_at)]
    number = split_version(batch.floor)[1]
    for epoch in sorted({o.epoch for o in refused if o.number in (0, number)}):
        snapshot = min_version(epoch, number)
        connections = {m.connection_id for m in (read_manifest(lake, p) for p in batch.manifests) if m.epoch == epoch}
        if floor_of(lake, contract, connections, snapshot) == batch.floor:
            blocker = _blocker(lake, warehouse, contract, batch, snapshot, batch.floor, refused, removed=True)
            if blocker:
                return f"{blocker.name}: {blocker.reason} (the rows that its generation removed are back)"
    return ""


def _floor_before(lake: Lake, warehouse: Warehouse, contract: StreamContract, batch: Batch, staged: Staged) -> str:
    """Return the floor of the newest generation, older than the head's floor, that may remove rows; "" if none may."""
    refused = _refused(lake, warehouse, contract, batch, staged)
    ended = [m for m in read_manifests(lake, contract) if m.outcome == "succeeded"]
    ended = [m for m in ended if contract.removes_older(m.older_removed)]
    connections: dict[str, set[str]] = {}
    for manifest in merged_of(warehouse, contract, batch, ended):
        number = generation_of(lake, contract, manifest)
        snapshot = min_version(manifest.epoch, number)
        if number and snapshot < batch.floor:
            connections.setdefault(snapshot, set()).add(manifest.connection_id)
    whole = [Whole(snapshot, frozenset(own)) for snapshot, own in connections.items()]
    return _newest_allowed(lake, warehouse, contract, batch, whole, refused)[0]


def _refused(lake: Lake, warehouse: Warehouse, contract: StreamContract, batch: Batch, staged: Staged) -> list[Refused]:
    """Return the objects with rows in quarantine, of this batch and of earlier ones, by name."""
    reasons = _reasons_of_batch(batch, staged)
    newest = _newest_in(batch)
    for q in warehouse.quarantined_objects(contract):
        if newest.get(q.object, 0) < q.generation:
            reasons[q.object, q.generation] = q.reasons
    return _located(lake, contract, batch, reasons)


def _reasons_of_batch(batch: Batch, staged: Staged) -> dict[Key, str]:
    """Return why the batch's own objects have rows in quarantine, without those that a newer generation replaces."""
    newest = _newest_in(batch)
    mended = {(o.name, o.generation) for o in batch.objects if o.replaced or newest[o.name] > o.generation}
    reasons = {(q.object, q.generation): q.reason for q in reversed(staged.quarantined)}
    return {key: reason for key, reason in reasons.items() if key not in mended}


def _newest_in(batch: Batch) -> dict[str, int]:
    """Return the newest generation of each object of the batch."""
    newest: dict[str, int] = {}
    for o in batch.objects:
        newest[o.name] = max(o.generation, newest.get(o.name, 0))
    return newest


def _located(lake: Lake, contract: StreamContract, batch: Batch, reasons: dict[Key, str]) -> list[Refused]:
    """Return objects with rows in quarantine, with what their manifests tell of them, by name."""
    return [
        Refused(
            name=key[0],
            reason=reasons[key],
            epoch=manifest.epoch,
            number=generation_of(lake, contract, manifest, key),
            job_created_at=manifest.job_created_at,
        )
        for key, manifest in _manifests_of(lake, contract, batch, set(reasons)).items()
    ]


def _manifests_of(lake: Lake, contract: StreamContract, batch: Batch, keys: set[Key]) -> dict[Key, LandingManifest]:
    """Return the manifest that names each object, in the batch or else in the lake; of several the highest epoch's."""
    manifests: dict[Key, LandingManifest] = {}
    for lists in (lambda: batch.manifests, lambda: list_manifests(lake, contract.source, contract.stream)):
        left = keys - set(manifests)
        for path in lists() if left else ():
            manifest = read_manifest(lake, path)
            for key in left & {(o.name, o.generation) for o in manifest.objects}:
                if key not in manifests or manifests[key].epoch < manifest.epoch:
                    manifests[key] = manifest
    return dict(sorted(manifests.items()))


def _blocker(
    lake: Lake,
    warehouse: Warehouse,
    contract: StreamContract,
    batch: Batch,
    snapshot: str,
    floor: str,
    refused: list[Refused],
    removed: bool = False,
) -> Refused | None:
    """Return the first refused object that a generation may have been read from.

    If it `removed` the older rows already, only a sync that is known to have ended it can be too late.
    """
    (last_epoch, number), (first_epoch, _) = split_version(snapshot), split_version(floor)
    near = [o for o in refused if first_epoch <= o.epoch <= last_epoch and o.number in (0, number)]
    if not near:
        return None
    span = span_of(lake, warehouse, contract, batch, snapshot, floor)
    if removed and span.ended is None:
        return None
    return next((o for o in near if span.contains(o.job_created_at, known=bool(o.number))), None)
