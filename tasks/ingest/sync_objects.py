"""Finds the objects that one sync wrote, wherever the destination's path format put them."""

import re
from collections.abc import Iterable
from datetime import timedelta

from millrace.domain import names
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.domain.sync import Sync
from millrace.lake.footers import count_rows, is_data_file
from millrace.lake.store import Lake, ObjectInfo

GENERATION = "ab-generation-id"
SLACK = timedelta(seconds=2)  # Airbyte tells whole seconds, by a clock of its own
DAY = timedelta(days=1)
SYNC_FOLDER = re.compile(r"/sync_id=(\d+)/")

Found = dict[LandedObject, int]  # with the Airbyte generation each bears
Footers = dict[tuple[str, int], int | None]


def find_objects(lake: Lake, source: str, stream: str, job_id: int, footers: Footers | None = None) -> Found:
    """Objects of one stream in the folder of a sync; `footers` keeps what was counted between two looks."""
    found = _data_files(lake, names.sync_prefix(source, stream, job_id))
    return _counted(lake, found, {} if footers is None else footers)


def find_stray_objects(lake: Lake, stream: str, sync: Sync, footers: Footers) -> Found:
    """Objects of one stream that were written while the sync ran and that no manifest names.

    For a destination whose `SYNC_ID` is not the job's id, or whose path format has none: Airbyte runs one sync of a
    connection at a time, so what appeared meanwhile is the sync's.
    """
    if sync.ended_at is None:
        return {}
    first, last = sync.created_at - SLACK, sync.ended_at + SLACK
    found = [o for o in _data_files(lake, names.raw_prefix(sync.source, stream)) if first <= o.updated <= last]
    claimed = _claimed(lake, stream, sync) if found else set()
    return _counted(lake, [o for o in found if (o.name, o.generation) not in claimed], footers)


def newest_generation(found: Found) -> Found:
    """The objects of the newest generation: an attempt that began anew left older ones, which Airbyte takes away."""
    newest = max(found.values(), default=0)
    return {landed: generation for landed, generation in found.items() if generation == newest}


def sync_ids(found: Iterable[LandedObject]) -> list[str]:
    """What the objects' paths call the sync."""
    return sorted({match[1] for o in found if (match := SYNC_FOLDER.search(o.name))})


def _data_files(lake: Lake, prefix: str) -> list[ObjectInfo]:
    return [info for info in lake.list(prefix) if is_data_file(info.name)]


def _counted(lake: Lake, found: Iterable[ObjectInfo], footers: Footers) -> Found:
    counted = {}
    for info in found:
        version = (info.name, info.generation)
        if version not in footers:
            footers[version] = count_rows(lake, info.name)
        landed = LandedObject(name=info.name, generation=info.generation, size=info.size, rows=footers[version])
        counted[landed] = int(info.metadata.get(GENERATION, 0))
    return counted


def _claimed(lake: Lake, stream: str, sync: Sync) -> set[tuple[str, int]]:
    """Objects that manifests of other syncs name; a sync that began the day before may have ended meanwhile."""
    prefix = names.manifests_prefix(sync.source, stream)
    claimed: set[tuple[str, int]] = set()
    for info in lake.list(prefix, start=f"{prefix}{sync.created_at - DAY:%Y%m%d}/"):
        if names.MANIFEST_PATH.fullmatch(info.name):
            manifest = LandingManifest.model_validate_json(lake.read(info.name))
            if (manifest.connection_id, manifest.job_id) != (sync.connection_id, sync.job_id):
                claimed |= {(o.name, o.generation) for o in manifest.objects}
    return claimed
