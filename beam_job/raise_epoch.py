"""A job of a stream in; copies of its manifest and of all later ones, with an epoch above all earlier ones, out.

For a stream that started over without a new epoch: its newer rows have lower generations or cursors than older ones.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from beam_job.batches import close_batch, under_way
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.epochs import SyncId, is_copy, raised_connection, sync_id
from millrace.domain.errors import EventRefused, ObjectExists
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.domain.types import Frozen
from millrace.lake.manifests import list_manifests, read_manifest
from millrace.lake.store import Lake
from millrace.observability.events import log_event
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)

MOST_OBJECTS = 2_000  # a request has at most 10 MB: https://cloud.google.com/bigquery/quotas#query_jobs


class RaisedEpoch(Frozen):
    """Results: the epoch of the first job; numbers of raised syncs, of pending objects, and of those that are gone."""

    epoch: int
    syncs: int
    admitted: int
    gone: int


@dataclass(frozen=True)
class StreamSync:
    """One sync of a stream with all its manifests, by path: as landed, of mended objects, with raised epochs."""

    id: SyncId
    manifests: dict[str, LandingManifest]

    @property
    def created_at(self) -> datetime:
        """Return the creation time of its job."""
        return self.id[2]

    @property
    def epoch(self) -> int:
        """Return the epoch that counts."""
        return max(m.epoch for m in self.manifests.values())

    @property
    def path(self) -> str:
        """Return the path of the manifest of the landing."""
        return min(self.manifests, key=lambda path: (is_copy(path), path))

    @property
    def objects(self) -> tuple[LandedObject, ...]:
        """Return every object that a manifest names, once."""
        return tuple(dict.fromkeys(chain.from_iterable(m.objects for m in self.manifests.values())))


class Plan(Frozen):
    """The copies that a call writes, by path: stored before the first one, so that a call that died is completed."""

    copies: dict[str, LandingManifest]


def raise_epoch(
    lake: Lake,
    warehouse: Warehouse,
    contract: StreamContract,
    *,
    from_job: int,
    connection: str = "",
    run_id: str,
    at: datetime,
) -> RaisedEpoch:
    """Let the rows of a job and of all jobs after it outrank those of all jobs before; the next merge takes them again.

    Call it with the lease of the stream's merges. A repeat raises nothing twice, and completes a call that died.

    Raises:
        EventRefused: the stream has no such job, or several with this id.
    """
    find_sync(contract, _list_syncs(lake, contract), from_job, connection)
    died = _read_plan(lake, contract)
    admitted = _carry_out(lake, warehouse, contract, died, run_id, at)
    syncs = _list_syncs(lake, contract)
    first = find_sync(contract, syncs, from_job, connection)
    present = _present(lake, contract)
    plan = _plan(contract, syncs, first, present, at)
    if plan.copies:
        lake.create(_plan_path(contract), plan.model_dump_json().encode())
        admitted += _carry_out(lake, warehouse, contract, plan, run_id, at)
    result = RaisedEpoch(
        epoch=max(m.epoch for m in [*first.manifests.values(), *plan.copies.values()] if sync_id(m) == first.id),
        syncs=len(died.copies | plan.copies),
        admitted=admitted,
        gone=_count_gone(contract, syncs, first, present),
    )
    log_event(log, logging.INFO, "epoch.raised", stream=contract.id, from_job=from_job, **result.model_dump())
    return result


def _plan(
    contract: StreamContract, syncs: list[StreamSync], first: StreamSync, present: set[tuple[str, int]], at: datetime
) -> Plan:
    """Return the copies that raise the epoch from the sync `first` on, none if its epoch is above all before."""
    before = max((sync.epoch for sync in syncs if sync.created_at < first.created_at), default=-1)
    later = [(sync, objects) for sync in syncs if (objects := _remaining(contract, sync, first, present)) is not None]
    epochs = raised_epochs(before, [sync.epoch for sync, _ in later])
    raised = [(*known, epoch) for known, epoch in zip(later, epochs, strict=True) if epoch > known[0].epoch]
    return Plan(copies=dict(_copy(sync, objects, epoch, at) for sync, objects, epoch in raised))


def raised_epochs(before: int, epochs: Sequence[int]) -> list[int]:
    """Return the epochs of syncs in the order of their jobs, all above `before` and none below that of an earlier job.

    Differences between them stay, as one may stand for a stream that started over in between.
    """
    least, shift, raised = before + 1, 0, []
    for epoch in epochs:
        shift = max(shift, least - epoch)
        least = epoch + shift
        raised.append(least)
    return raised


def find_sync(contract: StreamContract, syncs: Iterable[StreamSync], job_id: int, connection: str = "") -> StreamSync:
    """Return the sync of a job, of the given connection if there is one. Raises EventRefused."""
    of_id = [sync for sync in syncs if sync.id[1] == job_id]
    found = [sync for sync in of_id if connection in ("", sync.id[0])]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{sync.id[0]} (created {sync.created_at:%Y-%m-%d %H:%M:%S})" for sync in of_id)
    if found:
        raise EventRefused(
            f"{contract.id}: {len(found)} jobs have the id {job_id}, of the connections {known}; name one with"
            " --connection, or a job that was created a little later"
        )
    also = f" of the connection {connection}; that id has {known}" if of_id else ""
    raise EventRefused(
        f"{contract.id}: no manifest in the lake is of job {job_id}{also}; `millrace lake ls"
        f" {names.manifests_prefix(contract.source, contract.stream)}` lists them"
    )


def _list_syncs(lake: Lake, contract: StreamContract) -> list[StreamSync]:
    """Return all syncs of the stream in the order of their jobs."""
    syncs: dict[SyncId, StreamSync] = {}
    for path in list_manifests(lake, contract.source, contract.stream):
        manifest = read_manifest(lake, path)
        syncs.setdefault(sync_id(manifest), StreamSync(sync_id(manifest), {})).manifests[path] = manifest
    return sorted(syncs.values(), key=lambda sync: (sync.created_at, sync.id))


def _present(lake: Lake, contract: StreamContract) -> set[tuple[str, int]]:
    """Return the objects of the stream that still exist."""
    return {(info.name, info.generation) for info in lake.list(names.raw_prefix(contract.source, contract.stream))}


def _remaining(
    contract: StreamContract, sync: StreamSync, first: StreamSync, present: set[tuple[str, int]]
) -> tuple[LandedObject, ...] | None:
    """Return the objects of a sync that a copy names, None for no copy: the sync is older, or all its objects are gone.

    A snapshot of an overwrite stream stays whole.
    """
    if sync.created_at < first.created_at:
        return None
    if contract.mode == "overwrite":
        return sync.objects
    return tuple(o for o in sync.objects if (o.name, o.generation) in present) or None


def _count_gone(
    contract: StreamContract, syncs: Iterable[StreamSync], first: StreamSync, present: set[tuple[str, int]]
) -> int:
    """Return the number of files that keep their epoch, as no generation of them exists."""
    if contract.mode == "overwrite":
        return 0
    landed = {o.name for sync in syncs if sync.created_at >= first.created_at for o in sync.objects}
    return len(landed - {name for name, _ in present})


def _copy(sync: StreamSync, objects: tuple[LandedObject, ...], epoch: int, at: datetime) -> tuple[str, LandingManifest]:
    """Return path and content of a copy of a sync's manifests; it is of today, as older days are not listed."""
    landed = sync.manifests[sync.path]
    path = names.manifest_path(landed.source, landed.stream, at, raised_connection(sync.path, epoch), landed.job_id)
    return path, landed.model_copy(update={"epoch": epoch, "objects": objects, "landed_at": at})


def _plan_path(contract: StreamContract) -> str:
    return f"_batches/{contract.source}/{contract.stream}/raise-epoch.json"


def _read_plan(lake: Lake, contract: StreamContract) -> Plan:
    """Return the plan that a call left which died, or an empty one."""
    info = lake.stat(_plan_path(contract))
    return Plan.model_validate_json(lake.read(info.name, info.generation)) if info else Plan(copies={})


def _carry_out(
    lake: Lake, warehouse: Warehouse, contract: StreamContract, plan: Plan, run_id: str, at: datetime
) -> int:
    """Write the copies of a plan, make their merged objects pending again, and delete the plan; return their number."""
    if not plan.copies:
        return 0
    _drop_open_batch(lake, warehouse, contract)
    for path, copy in plan.copies.items():
        try:
            lake.create(path, copy.model_dump_json(indent=1).encode())
        except ObjectExists:
            continue  # the call that died wrote it
    objects = [(path, o.name, o.generation) for path, copy in plan.copies.items() for o in copy.objects]
    parts = (objects[first : first + MOST_OBJECTS] for first in range(0, len(objects), MOST_OBJECTS))
    admitted = sum(warehouse.redrive(contract, part, run_id=run_id, at=at) for part in parts)
    lake.delete(_plan_path(contract))
    return admitted


def _drop_open_batch(lake: Lake, warehouse: Warehouse, contract: StreamContract) -> None:
    """Close a batch that was opened with the epochs of before, unless it is committed: its manifests stay pending."""
    batch = under_way(lake, contract)
    if batch and warehouse.balance(batch) is None:
        close_batch(lake, batch)
