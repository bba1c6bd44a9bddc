"""Landing manifests in the lake: a stream in, their paths out; a path in, the manifest out."""

import logging
from functools import lru_cache

from millrace.domain import names
from millrace.domain.errors import EventRefused
from millrace.domain.landing import LandingManifest
from millrace.lake.store import Lake
from millrace.observability.events import log_event

log = logging.getLogger(__name__)


def list_manifests(lake: Lake, source: str, stream: str, since: str = "") -> list[str]:
    """Return the paths of a stream's manifests of the day `since` (`YYYYMMDD`) and later, in order.

    Other objects of that folder, as the empty markers that tools make for folders, are logged once and left alone.
    """
    prefix = names.manifests_prefix(source, stream)
    listed = [info.name for info in lake.list(prefix, start=f"{prefix}{since}" if since else None)]
    paths = [path for path in listed if names.MANIFEST_PATH.fullmatch(path)]
    for path in set(listed) - set(paths):
        _warn_once(f"{lake.url}/{path}")
    return paths


@lru_cache(maxsize=4096)
def _warn_once(address: str) -> None:
    message = f"{address} is not at the path of a manifest and is ignored; delete it, or move it to another folder"
    log_event(log, logging.WARNING, "manifest.stray", message, object=address)


def read_manifest(lake: Lake, path: str) -> LandingManifest:
    """Return a manifest; it never changes, so each process reads it once.

    Raises:
        EventRefused: the object is not a manifest.
    """
    return _read_manifest(_Same(lake), path)


class _Same:
    """A lake, equal to any other with the same address."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._address == other._address

    def __hash__(self) -> int:
        return hash(self._address)

    @property
    def _address(self) -> tuple[str, str]:
        return self.lake.url, self.lake.endpoint


@lru_cache(maxsize=4096)
def _read_manifest(same: _Same, path: str) -> LandingManifest:
    try:
        return LandingManifest.model_validate_json(same.lake.read(path))
    except ValueError as error:
        raise EventRefused(
            f"{same.lake.url}/{path} is not a landing manifest: {error}; delete or correct it"
        ) from error
