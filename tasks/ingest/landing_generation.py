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
    if is_empty_snapshot(contract, sync, manifest):
        return manifest.model_copy(update={"generation_id": _next_generation(manifest, _earlier(lake, manifest))})
    if contract.mode == "append" and manifest.generation_id and manifest.outcome == "succeeded":
        return manifest.model_copy(update={"older_removed": is_older_removed(lake, manifest)})
    return manifest


def is_empty_snapshot(contract: StreamContract, sync: Sync, manifest: LandingManifest) -> bool:
    """Return whether a sync read an overwrite stream to its end and found no row, so that the table has to be emptied.

    That is known only if Airbyte reports how many rows the sync wrote, and if its connection reads the stream.
    """
    read = not sync.sync_modes or contract.stream in sync.sync_modes
    known = manifest.outcome == "succeeded" and sync.rows is not None and read
    return known and not manifest.objects and contract.obeys_empty_snapshots


def warn_refused(contract: StreamContract, manifest: LandingManifest) -> None:
    """Log that an empty snapshot changes nothing, as the contract wants it."""
    if manifest.objects or contract.empty_snapshot != "refuse":
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
