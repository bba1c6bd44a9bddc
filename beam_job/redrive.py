"""Lets quarantined objects be merged once more after a fix: of the contract, or of the object itself."""

import logging
from collections.abc import Collection
from datetime import datetime

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import RefusedObject
from millrace.domain.errors import FileRejected
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.domain.types import Frozen
from millrace.lake.footers import count_rows
from millrace.lake.manifests import read_manifest
from millrace.lake.store import Lake, ObjectExists
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5


class Redriven(Frozen):
    """What a redrive did: objects let in again, those mended since, and those that were tried too often."""

    admitted: int
    mended: int
    exhausted: tuple[str, ...]


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
    """Let a stream's quarantined objects (or those named) be merged once more; again before the merge changes nothing.

    Rows that were merged before are stale the second time. A mended object, which has a new generation, gets a manifest
    of its own. The snapshot of an overwrite stream is let in whole, as only a whole one replaces.

    Raises:
        FileRejected: a named object is not in quarantine.
    """
    refused = {o.object: o for o in warehouse.refused(contract)}
    if unknown := set(objects) - set(refused):
        raise FileRejected(f"{contract.id}: not in quarantine: {', '.join(sorted(unknown))}; see ops.quarantine")
    wanted = [o for name, o in refused.items() if name in objects or not objects]
    tried = tuple(o.object for o in wanted if o.attempts >= max_attempts)
    found = [(path, m, o) for path, m, o in _manifests(lake, contract, wanted) if o.object not in tried]
    mended = {o.object for path, m, o in found if _is_mended(lake, o) and _land_again(lake, m, o, at)}
    again = {(path, o.object, o.generation) for path, _, o in found if not _is_mended(lake, o)}
    if contract.mode == "overwrite":
        gone = {o.object for o in wanted if _is_mended(lake, o)}
        again |= {(path, s.name, s.generation) for path, m, _ in found for s in m.objects if s.name not in gone}
    admitted = warehouse.redrive(contract, sorted(again), run_id=run_id, at=at) if again else 0
    done = Redriven(admitted=admitted, mended=len(mended), exhausted=tried)
    fields = {"stream": contract.id} | done.model_dump()
    log.info("merge.redriven", extra={"event": "merge.redriven", "fields": fields})
    return done


def _manifests(
    lake: Lake, contract: StreamContract, wanted: list[RefusedObject]
) -> list[tuple[str, LandingManifest, RefusedObject]]:
    """Each object with the oldest manifest that names it."""
    paths = [info.name for info in lake.list(names.manifests_prefix(contract.source, contract.stream))]
    by_object: dict[tuple[str, int], tuple[str, LandingManifest]] = {}
    for path in paths if wanted else []:
        manifest = read_manifest(lake, path)
        for o in manifest.objects:
            by_object.setdefault((o.name, o.generation), (path, manifest))
    return [(*by_object[key], o) for o in wanted if (key := (o.object, o.generation)) in by_object]


def _is_mended(lake: Lake, refused: RefusedObject) -> bool:
    info = lake.stat(refused.object)
    return info is not None and info.generation != refused.generation


def _land_again(lake: Lake, manifest: LandingManifest, refused: RefusedObject, at: datetime) -> bool:
    """Write a manifest of the object as it is now; whether it was not there yet."""
    info = lake.stat(refused.object)
    if info is None:
        return False
    landed = LandedObject(name=info.name, generation=info.generation, size=info.size, rows=count_rows(lake, info.name))
    connection = f"{manifest.connection_id}-mended-{info.generation}"
    again = manifest.model_copy(update={"objects": (landed,), "landed_at": at})
    path = names.manifest_path(
        manifest.source,
        manifest.stream,
        at,
        connection,
        manifest.job_id,  # today's, as older days are not looked at
    )
    try:
        lake.create(path, again.model_dump_json(indent=1).encode())
    except ObjectExists:
        return False
    return True
