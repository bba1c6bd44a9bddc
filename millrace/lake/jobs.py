"""The creation time of a job in; its stream's newest manifest of an earlier job, or whether one is of a later, out."""

from datetime import datetime, timedelta
from itertools import groupby

from millrace.domain.epochs import is_copy, is_raised, newest, sync_id
from millrace.domain.landing import LandingManifest
from millrace.lake.manifests import list_manifests, read_manifest
from millrace.lake.store import Lake

DAYS, MONTH = timedelta(days=2), timedelta(days=31)


def newest_earlier(lake: Lake, source: str, stream: str, created_at: datetime) -> LandingManifest | None:
    """Return the stream's newest manifest of a job that was created before `created_at`, with the epoch that counts.

    Lists the manifests of the days before first, then of the month before, then all; reads those of one day only.
    """
    for since in (f"{created_at - DAYS:%Y%m%d}", f"{created_at - MONTH:%Y%m%d}", ""):
        paths = list_manifests(lake, source, stream, since)
        if found := _newest_earlier(lake, paths, created_at):
            copies = (read_manifest(lake, path) for path in paths if is_raised(path, found))
            return newest([found, *(copy for copy in copies if sync_id(copy) == sync_id(found))])
    return None


def has_later(lake: Lake, source: str, stream: str, created_at: datetime) -> bool:
    """Return whether the lake has a manifest of a job that was created after `created_at`."""
    paths = list_manifests(lake, source, stream, f"{created_at:%Y%m%d}")
    return any(read_manifest(lake, path).job_created_at > created_at for path in reversed(paths))


def _newest_earlier(lake: Lake, paths: list[str], created_at: datetime) -> LandingManifest | None:
    """Return the newest earlier manifest as it was landed."""
    originals = sorted((path for path in paths if not is_copy(path)), key=_day, reverse=True)
    for day, of_day in groupby(originals, key=_day):
        if day <= f"{created_at:%Y%m%d}":
            landed = (read_manifest(lake, path) for path in of_day)
            if found := newest(m for m in landed if m.job_created_at < created_at):
                return found
    return None


def _day(path: str) -> str:
    return path.split("/")[3]
