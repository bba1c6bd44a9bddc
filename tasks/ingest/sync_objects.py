"""Finds the objects of one sync in the lake, under any path format of the destination."""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta

from millrace.domain import names
from millrace.domain.epochs import sync_id
from millrace.domain.landing import LandedObject
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
Claimed = frozenset[tuple[str, int]]  # names and generations of objects


def find_objects(
    lake: Lake,
    source: str,
    stream: str,
    job_id: int,
    footers: Footers | None = None,
    claimed: Callable[[str], Claimed] = lambda stream: frozenset(),
) -> LandedObjects:
    """Return the objects of one stream in the folder of a sync, without those that `claimed` returns for it.

    `footers` caches row counts between two calls.
    """
    files = _data_files(lake, names.sync_prefix(source, stream, job_id))
    others = claimed(stream) if files else frozenset()
    files = [o for o in files if (o.name, o.generation) not in others]
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
    claimed = _claimed(lake, stream, sync, f"{sync.created_at - DAY:%Y%m%d}") if files else frozenset()
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


def claimed_by_namesakes(lake: Lake, stream: str, sync: Sync) -> Claimed:
    """Return the objects of an earlier installation of Airbyte whose job had the same id as the sync's."""
    return _claimed(lake, stream, sync, job_id=sync.job_id)


def _claimed(lake: Lake, stream: str, sync: Sync, since: str = "", job_id: int | None = None) -> Claimed:
    """Return the objects that manifests of other syncs name: of those from the day `since` on, or of one job id."""
    claimed: set[tuple[str, int]] = set()
    for path in list_manifests(lake, sync.source, stream, since):
        if job_id in (None, names.parse_manifest_path(path)[2]):
            manifest = read_manifest(lake, path)
            if sync_id(manifest) != (sync.connection_id, sync.job_id, sync.created_at):
                claimed |= {(o.name, o.generation) for o in manifest.objects}
    return frozenset(claimed)
