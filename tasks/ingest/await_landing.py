"""Verifies that a sync's rows are in the lake, and writes one manifest per stream; the bucket announces it."""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.epochs import sync_id
from millrace.domain.errors import LandingIncomplete, ManifestConflict, ObjectExists
from millrace.domain.landing import LandingManifest
from millrace.domain.sync import Landing, Sync
from millrace.lake.jobs import newest_earlier
from millrace.lake.manifests import read_manifest
from millrace.lake.store import Lake
from millrace.observability.events import log_event
from tasks.context import airbyte_block, open_lake, source_contract
from tasks.ingest.landing_epoch import landing_epoch
from tasks.ingest.landing_generation import is_empty_snapshot, warn_refused, with_generation
from tasks.ingest.sync_objects import (
    Claimed,
    Footers,
    LandedObjects,
    claimed_by_namesakes,
    find_objects,
    find_stray_objects,
    newest_generation,
    sync_ids,
)
from tasks.retries import transient_task

log = logging.getLogger(__name__)


@transient_task(task_run_name="await landing of {sync.source}, job {sync.job_id}", tags=[names.STEP_TAG], retries=3)
def await_landing(sync: Sync) -> list[Landing]:
    """Land every stream of an ended sync, also of a failed one: Airbyte does not send again what that has written.

    Running twice equals running once, by the manifest's path.

    Raises:
        LandingIncomplete: fewer rows than Airbyte reports, after the block's `landing_timeout_s`.
        ManifestConflict: an earlier manifest of this sync names other objects.
    """
    lake = open_lake()
    timeout_s = airbyte_block().landing_timeout_s
    source = source_contract(sync.source)
    contracts = [s for s in source.streams.values() if _is_landed(s, sync)]
    objects = _wait_for_rows(lake, sync, contracts, timeout_s)
    return [land_stream(lake, sync, s, objects[s.stream], source.epoch, datetime.now(UTC)) for s in contracts]


def _is_landed(contract: StreamContract, sync: Sync) -> bool:
    return contract.mode != "overwrite" or sync.outcome == "succeeded"


def land_stream(
    lake: Lake, sync: Sync, contract: StreamContract, landed: LandedObjects, epoch: int, now: datetime
) -> Landing:
    """Write one stream's manifest, or adopt the one that an earlier try has written.

    `epoch` is the source's; a stream that started over, as one of a connection that was created again, gets a higher.
    """
    if contract.mode == "overwrite":
        landed = newest_generation(landed)
    objects = tuple(landed)
    manifest = LandingManifest(
        source=sync.source,
        stream=contract.stream,
        connection_id=sync.connection_id,
        job_id=sync.job_id,
        job_created_at=sync.created_at,
        outcome=sync.outcome,
        sync_mode=contract.mode,
        generation_id=max(landed.values(), default=0),
        epoch=epoch,
        objects=objects,
        landed_at=now,
    )
    manifest = with_generation(lake, contract, sync, manifest)
    path = _write(lake, manifest, merged=bool(objects) or is_empty_snapshot(contract, sync, manifest))
    warn_refused(contract, manifest)
    landing = Landing(
        stream=contract.stream,
        manifest=path,
        files=len(objects),
        rows=manifest.rows,
        bytes=sum(o.size for o in objects),
        unreadable=sum(o.rows is None for o in objects),
    )
    log_event(log, logging.INFO, "stream.landed", **landing.model_dump(mode="json"))
    return landing


def _write(lake: Lake, manifest: LandingManifest, *, merged: bool) -> str:
    """Write a manifest with the epoch of its rows, among those to merge or not, unless an earlier try has; return its
    path."""
    path, why = _free_path(lake, manifest, merged=merged), ""
    if merged:
        earlier = newest_earlier(lake, manifest.source, manifest.stream, manifest.job_created_at)
        epoch, why = landing_epoch(manifest, earlier)
        manifest = manifest.model_copy(update={"epoch": epoch})
    if _create_once(lake, path, manifest) and why:
        stream = f"{manifest.source}.{manifest.stream}"
        fields = {"stream": stream, "job_id": manifest.job_id, "epoch": manifest.epoch}
        log_event(log, logging.WARNING, "landing.epoch_raised", why, **fields)
    return path


def _free_path(lake: Lake, manifest: LandingManifest, *, merged: bool) -> str:
    """Return the path of a manifest, another one if an earlier installation of Airbyte had that job on the same day."""
    at, empty = manifest.job_created_at, not merged

    def path(connection: str) -> str:
        return names.manifest_path(manifest.source, manifest.stream, at, connection, manifest.job_id, empty=empty)

    taken = path(manifest.connection_id)
    if lake.stat(taken) and sync_id(read_manifest(lake, taken)) != sync_id(manifest):
        return path(f"{manifest.connection_id}-{at:%H%M%S}")
    return taken


def _create_once(lake: Lake, path: str, manifest: LandingManifest) -> bool:
    """Write a manifest, unless an earlier try has; return whether this one did."""
    try:
        lake.create(path, manifest.model_dump_json(indent=1).encode())
    except ObjectExists:
        existing = LandingManifest.model_validate_json(lake.read(path))
        if not existing.same_sync(manifest):
            prefix = names.sync_prefix(manifest.source, manifest.stream, manifest.job_id)
            raise ManifestConflict(
                f"{lake.url}/{path} names other objects than sync {manifest.job_id} of {manifest.source}."
                f"{manifest.stream} has now: some were added, replaced or deleted since it landed; look for what else"
                f" writes below {prefix}, and see `python -m beam_job redrive` for repaired objects"
            ) from None
        return False
    return True


def _wait_for_rows(
    lake: Lake, sync: Sync, contracts: Iterable[StreamContract], timeout_s: float
) -> dict[str, LandedObjects]:
    """Return the objects of every stream, once they hold at least the rows that a succeeded job reports.

    More rows are valid: Airbyte delivers at least once.
    """
    deadline, footers = time.monotonic() + timeout_s, Footers()
    claimed = cache(lambda stream: claimed_by_namesakes(lake, stream, sync))
    streams = sorted({*sync.sync_modes, *(c.stream for c in contracts)})
    while True:
        objects = _find_all(lake, sync, streams, footers, claimed)
        landed = [o for of_stream in objects.values() for o in of_stream]
        rows, unreadable = sum(o.rows or 0 for o in landed), any(o.rows is None for o in landed)
        if sync.outcome != "succeeded" or unreadable or rows >= (sync.rows or 0):
            return objects
        if time.monotonic() > deadline:
            raise LandingIncomplete(
                f"sync {sync.job_id} of {sync.source}: {rows:,} of {sync.rows:,} rows under"
                f" {lake.url}/{names.RAW}{sync.source}/*/sync_id={sync.job_id}/ after {timeout_s:.0f} s;"
                " look at the Airbyte job's log and at the destination's path format"
            )
        time.sleep(min(1.0, timeout_s / 10))


def _find_all(
    lake: Lake, sync: Sync, streams: Iterable[str], footers: Footers, claimed: Callable[[str], Claimed]
) -> dict[str, LandedObjects]:
    """Return the sync's objects of each stream, streams without a contract included: Airbyte counts their rows too."""
    objects = {s: find_objects(lake, sync.source, s, sync.job_id, footers, claimed) for s in streams}
    if sync.rows != 0 and not any(objects.values()):
        objects = {s: find_stray_objects(lake, s, sync, footers) for s in streams}
        if any(objects.values()):
            ids = sync_ids(o for of_stream in objects.values() for o in of_stream)
            log_event(log, logging.WARNING, "landing.other_path", source=sync.source, job_id=sync.job_id, sync_ids=ids)
    return objects
