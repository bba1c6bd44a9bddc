"""A sync's manifest in; what it says about the stream's older generations, out: that they are replaced or removed."""

import logging

from millrace.contracts.stream import StreamContract
from millrace.domain.landing import LandingManifest
from millrace.domain.sync import Sync
from millrace.lake.jobs import newest_earlier
from millrace.lake.store import Lake
from millrace.observability.events import log_event

log = logging.getLogger(__name__)


def with_generation(lake: Lake, contract: StreamContract, sync: Sync, manifest: LandingManifest) -> LandingManifest:
    """Return the manifest with the generation of an empty snapshot, or with whether Airbyte removed the older one."""
    if contract.mode != "overwrite" and not manifest.objects:
        emptied = _emptied_generation(lake, contract, sync, manifest)
        update = {"generation_id": emptied + 1, "older_removed": True}
        return manifest.model_copy(update=update) if emptied else manifest
    if is_empty_snapshot(contract, sync, manifest):
        return manifest.model_copy(update={"generation_id": _next_generation(manifest, _earlier(lake, manifest))})
    if contract.mode == "append" and manifest.generation_id and manifest.outcome == "succeeded":
        return manifest.model_copy(update={"older_removed": is_older_removed(lake, manifest)})
    return manifest


def is_empty_snapshot(contract: StreamContract, sync: Sync, manifest: LandingManifest) -> bool:
    """Return whether a sync read a stream to its end and found no row, so that the table has to be emptied.

    A cdc or append stream is emptied by a refresh that removed the older records, and not by a sync without changes.
    """
    replaces = contract.mode == "overwrite" or manifest.older_removed
    return replaces and _read_no_row(contract, sync, manifest) and contract.obeys_empty_snapshots


def _read_no_row(contract: StreamContract, sync: Sync, manifest: LandingManifest) -> bool:
    """Return whether a sync read a stream to its end and found no row.

    That is known only if Airbyte reports how many rows the sync wrote, and if its connection reads the stream.
    """
    read = not sync.sync_modes or contract.stream in sync.sync_modes
    return manifest.outcome == "succeeded" and sync.rows is not None and read and not manifest.objects


def _emptied_generation(lake: Lake, contract: StreamContract, sync: Sync, manifest: LandingManifest) -> int:
    """Return the generation whose objects Airbyte deleted in a refresh of a cdc or append stream without rows, or 0.

    Without objects nothing tells the new generation: the job says that it refreshes streams, and the objects of the
    sync before are gone if this stream is one of them. Neither alone is enough: a bucket deletes old objects too.
    """
    if not (sync.refreshes and _read_no_row(contract, sync, manifest)):
        return 0
    earlier = _earlier(lake, manifest)
    if earlier is None or earlier.connection_id != manifest.connection_id or not earlier.objects:
        return 0
    return 0 if any(_exists(lake, o.name, o.generation) for o in earlier.objects) else earlier.generation_id


def warn_refused(contract: StreamContract, manifest: LandingManifest) -> None:
    """Log that an empty snapshot changes nothing, as the contract wants it."""
    empties = contract.mode == "overwrite" or manifest.older_removed
    if manifest.objects or contract.empty_snapshot != "refuse" or not empties:
        return
    message = (
        f"sync {manifest.job_id} read no rows of {contract.id}, and its contract says `empty_snapshot: refuse`: the"
        " table keeps its rows. Look at the source; if it is empty indeed, write `empty_snapshot: replace` in"
        f" sources/{contract.source}.yaml and sync again"
    )
    log_event(log, logging.WARNING, "landing.empty_snapshot", message, stream=contract.id, job_id=manifest.job_id)


def _next_generation(manifest: LandingManifest, earlier: LandingManifest | None) -> int:
    """Return the generation of a snapshot without objects, which tell Airbyte's: the one after the newest earlier one.

    It is 0, which stands for the job's number, if the earlier ones have none either.
    """
    if earlier is None or earlier.connection_id != manifest.connection_id:
        return 1
    return earlier.generation_id + 1 if earlier.generation_id else 0


def is_older_removed(lake: Lake, manifest: LandingManifest) -> bool:
    """Return whether Airbyte deleted the objects of the generation before that of the manifest.

    Raising the generation alone says nothing: "full refresh | append" does it with every sync, and keeps all.
    """
    earlier = _earlier(lake, manifest)
    while earlier and earlier.connection_id == manifest.connection_id:
        if earlier.generation_id < manifest.generation_id:
            return not any(_exists(lake, o.name, o.generation) for o in earlier.objects)
        if earlier.generation_id == manifest.generation_id and earlier.outcome == "succeeded":
            return earlier.older_removed
        earlier = _earlier(lake, earlier)
    return False


def _earlier(lake: Lake, manifest: LandingManifest) -> LandingManifest | None:
    return newest_earlier(lake, manifest.source, manifest.stream, manifest.job_created_at)


def _exists(lake: Lake, name: str, generation: int) -> bool:
    info = lake.stat(name)
    return info is not None and info.generation == generation
