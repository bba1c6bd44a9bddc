"""The manifests of a stream in, the epoch of a sync out; pure.

A manifest never changes: a raised epoch is in a copy of it, at a path of its own. Of the manifests that name a sync, or
an object, the one with the highest epoch counts.
"""

import re
from collections.abc import Iterable
from datetime import datetime

from millrace.domain.landing import LandingManifest

SyncId = tuple[str, int, datetime]
COPY = re.compile(r"/[^/]+-(?:epoch|mended)-\d+-\d+\.json$")


def sync_id(manifest: LandingManifest) -> SyncId:
    """Return what identifies a manifest's sync: job ids start over with a new Airbyte."""
    return manifest.connection_id, manifest.job_id, manifest.job_created_at


def raised_connection(path: str, epoch: int) -> str:
    """Return the name in place of the connection's in the path of a manifest's copy with a raised epoch."""
    return f"{path.rpartition('/')[2].rpartition('-')[0]}-epoch-{epoch}"


def is_copy(path: str) -> bool:
    """Return true for a manifest of a mended object or of a raised epoch: its day is not that of its job."""
    return COPY.search(path) is not None


def is_raised(path: str, manifest: LandingManifest) -> bool:
    """Return true if a path can be that of a manifest's copy with a raised epoch, or of a namesake's."""
    name = path.rpartition("/")[2]
    is_same = name.startswith(f"{manifest.connection_id}-") and name.endswith(f"-{manifest.job_id:012d}.json")
    return is_same and "-epoch-" in name


def newest(manifests: Iterable[LandingManifest]) -> LandingManifest | None:
    """Return the manifest of the job that was created last, the one with the highest epoch of several."""
    return max(manifests, key=lambda m: (m.job_created_at, m.epoch), default=None)


def highest_epochs(manifests: Iterable[LandingManifest]) -> dict[tuple[str, int], int]:
    """Return the epoch that counts for each (object, generation) that manifests name."""
    epochs: dict[tuple[str, int], int] = {}
    for manifest in manifests:
        for o in manifest.objects:
            epochs[o.name, o.generation] = max(manifest.epoch, epochs.get((o.name, o.generation), 0))
    return epochs
