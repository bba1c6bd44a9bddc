"""Finds the objects of one sync in the lake, under any path format of the destination."""

import re
from collections.abc import Iterable
from datetime import timedelta

from millrace.domain import names
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.domain.sync import Sync
from millrace.lake.footers import count_rows, is_data_file
from millrace.lake.manifests import list_manifests, read_manifest
from millrace.lake.store import Lake, ObjectInfo

GENERATION = "ab-generation-id"
SLACK = timedelta(seconds=2)  # Airbyte rounds times to seconds, and its clock may differ
DAY = timedelta(days=1)
SYNC_FOLDER = re.compile(r"/sync_id=(\d+)/")

LandedObjects = dict[LandedObject, int]  # objects with their Airbyte generation
Footers = dict[tuple[str, int], int | None]


def find_objects(
    lake: Lake, source: str, stream: str, job_id: int, footers: Footers | None = None, sync: Sync | None = None
) -> LandedObjects:
    """Return the objects of one stream in the folder of a sync; `footers` caches row counts between two calls.

    With `sync`, objects that a manifest of another sync names are left out: those of an earlier installation of Airbyte
    whose job had the same id.
    """
    files = _data_files(lake, names.sync_prefix(source, stream, job_id))
    claimed = _claimed_by_namesakes(lake, stream, sync) if sync and files else set()
    files = [o for o in files if (o.name, o.generation) not in claimed]
    return _count_rows(lake, files, {} if footers is None else footers)


def find_stray_objects(lake: Lake, stream: str, sync: Sync, footers: Footers) -> LandedObjects:
    """Return the objects of one stream that were written while the sync ran and that no manifest names.

    For a destination whose `SYNC_ID` is not the job's id, or whose path format has none: Airbyte runs one sync of a
    connection at a time, so objects of that period belong to the sync.
    """
    if sync.ended_at is None:
        return {}
    first, last = sync.created_at - SLACK, sync.ended_at + SLACK
    files = [o for o in _data_files(lake, names.raw_prefix(sync.source, stream)) if first <= o.updated <= last]
    claimed = _claimed(lake, stream, sync) if files else set()
    return _count_rows(lake, [o for o in files if (o.name, o.generation) not in claimed], footers)


def newest_generation(landed: LandedObjects) -> LandedObjects:
    """Return the objects of the newest generation: a restarted attempt leaves older ones, which Airbyte deletes."""
    newest = max(landed.values(), default=0)
    return {obj: generation for obj, generation in landed.items() if generation == newest}


def sync_ids(objects: Iterable[LandedObject]) -> list[str]:
    """Return the values of `sync_id` in the objects' paths."""
    return sorted({match[1] for o in objects if (match := SYNC_FOLDER.search(o.name))})


def _data_files(lake: Lake, prefix: str) -> list[ObjectInfo]:
    return [info for info in lake.list(prefix) if is_data_file(info.name)]


def _count_rows(lake: Lake, files: Iterable[ObjectInfo], footers: Footers) -> LandedObjects:
    landed = {}
    for info in files:
        version = (info.name, info.generation)
        if version not in footers:
            footers[version] = count_rows(lake, info.name)
        obj = LandedObject(name=info.name, generation=info.generation, size=info.size, rows=footers[version])
        landed[obj] = int(info.metadata.get(GENERATION, 0))
    return landed


def _claimed_by_namesakes(lake: Lake, stream: str, sync: Sync) -> set[tuple[str, int]]:
    """Return the objects that manifests of other syncs with the same job id name."""
    claimed: set[tuple[str, int]] = set()
    for path in list_manifests(lake, sync.source, stream):
        if names.parse_manifest_path(path)[2] == sync.job_id:
            manifest = read_manifest(lake, path)
            if (manifest.connection_id, manifest.job_created_at) != (sync.connection_id, sync.created_at):
                claimed |= {(o.name, o.generation) for o in manifest.objects}
    return claimed


def _claimed(lake: Lake, stream: str, sync: Sync) -> set[tuple[str, int]]:
    """Return the objects that manifests of other syncs name; a sync may have begun the day before and ended since."""
    prefix = names.manifests_prefix(sync.source, stream)
    claimed: set[tuple[str, int]] = set()
    for info in lake.list(prefix, start=f"{prefix}{sync.created_at - DAY:%Y%m%d}/"):
        if names.MANIFEST_PATH.fullmatch(info.name):
            manifest = LandingManifest.model_validate_json(lake.read(info.name))
            if (manifest.connection_id, manifest.job_id) != (sync.connection_id, sync.job_id):
                claimed |= {(o.name, o.generation) for o in manifest.objects}
    return claimed
