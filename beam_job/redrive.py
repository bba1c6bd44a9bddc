"""Quarantined objects in, pending again out, after a fix of the contract or of the object itself."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import QuarantinedObject
from millrace.domain.errors import FileRejected, ObjectExists
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.domain.types import Frozen
from millrace.lake.footers import count_rows
from millrace.lake.manifests import list_manifests, read_manifest
from millrace.lake.store import Lake
from millrace.observability.events import log_event
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5


class Redriven(Frozen):
    """Results of a redrive: numbers of objects that are pending again and of repaired ones, and exhausted objects."""

    admitted: int
    repaired: int
    exhausted: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """A quarantined object, the manifest that counts for it, and whether the object was replaced since."""

    quarantined: QuarantinedObject
    path: str
    manifest: LandingManifest
    repaired: bool


def redrive(
    lake: Lake,
    warehouse: Warehouse,
    contract: StreamContract,
    *,
    objects: Collection[str] = (),
    max_attempts: int = MAX_ATTEMPTS,
    run_id: str,
    at: datetime,
) -> Redriven:
    """Make a stream's quarantined objects (or the named ones) pending again; a repeat before the merge has no effect.

    Rows that were merged before are stale the second time. A repaired object, which has a new generation, gets a new
    manifest. A snapshot of an overwrite stream becomes pending whole, as only a whole one replaces the table's rows.

    Raises:
        FileRejected: a named object is not in quarantine.
    """
    selected = _select(contract, warehouse.quarantined_objects(contract), objects)
    exhausted = tuple(o.object for o in selected if o.attempts >= max_attempts)
    replaced = {o.object for o in selected if _is_repaired(lake, o)}
    candidates = [c for c in _candidates(lake, contract, selected, replaced) if c.quarantined.object not in exhausted]
    repaired = {c.quarantined.object for c in candidates if c.repaired and _land_again(lake, c, at)}
    pending = _unchanged(candidates)
    if contract.mode == "overwrite":
        pending |= _snapshots(candidates, replaced)
    admitted = warehouse.redrive(contract, sorted(pending), run_id=run_id, at=at) if pending else 0
    result = Redriven(admitted=admitted, repaired=len(repaired), exhausted=exhausted)
    counts = {"admitted": admitted, "mended": result.repaired, "exhausted": exhausted}
    log_event(log, logging.INFO, "merge.redriven", stream=contract.id, **counts)
    return result


def _select(
    contract: StreamContract, quarantined: Iterable[QuarantinedObject], objects: Collection[str]
) -> list[QuarantinedObject]:
    """Return the objects in quarantine with the given names, or all if there are no names."""
    by_name = {o.object: o for o in quarantined}
    if unknown := set(objects) - set(by_name):
        raise FileRejected(f"{contract.id}: not in quarantine: {', '.join(sorted(unknown))}; see ops.quarantine")
    return [o for name, o in by_name.items() if name in objects or not objects]


def _candidates(
    lake: Lake, contract: StreamContract, selected: list[QuarantinedObject], replaced: set[str]
) -> list[Candidate]:
    """Return each object that a manifest names, with the one of the highest epoch that does, the oldest of several."""
    by_object: dict[tuple[str, int], tuple[str, LandingManifest]] = {}
    for path in list_manifests(lake, contract.source, contract.stream) if selected else []:
        manifest = read_manifest(lake, path)
        for o in manifest.objects:
            known = by_object.get((o.name, o.generation))
            if known is None or manifest.epoch > known[1].epoch:
                by_object[o.name, o.generation] = (path, manifest)
    return [
        Candidate(o, *by_object[key], repaired=o.object in replaced)
        for o in selected
        if (key := (o.object, o.generation)) in by_object
    ]


def _unchanged(candidates: Iterable[Candidate]) -> set[tuple[str, str, int]]:
    """Return manifest, name and generation of each object that was not repaired."""
    return {(c.path, c.quarantined.object, c.quarantined.generation) for c in candidates if not c.repaired}


def _snapshots(candidates: Iterable[Candidate], replaced: set[str]) -> set[tuple[str, str, int]]:
    """Return manifest, name and generation of all objects that landed with the candidates, without replaced ones."""
    return {(c.path, o.name, o.generation) for c in candidates for o in c.manifest.objects if o.name not in replaced}


def _is_repaired(lake: Lake, quarantined: QuarantinedObject) -> bool:
    info = lake.stat(quarantined.object)
    return info is not None and info.generation != quarantined.generation


def _land_again(lake: Lake, candidate: Candidate, at: datetime) -> bool:
    """Write a manifest of the object's current generation; return whether it is a new one."""
    info, manifest = lake.stat(candidate.quarantined.object), candidate.manifest
    if info is None:
        return False
    landed = LandedObject(name=info.name, generation=info.generation, size=info.size, rows=count_rows(lake, info.name))
    connection = f"{manifest.connection_id}-mended-{info.generation}"
    repaired = manifest.model_copy(update={"objects": (landed,), "landed_at": at})
    source, stream = manifest.source, manifest.stream
    path = names.manifest_path(source, stream, at, connection, manifest.job_id)  # of today: older days are not listed
    try:
        lake.create(path, repaired.model_dump_json(indent=1).encode())
    except ObjectExists:
        return False
    return True
