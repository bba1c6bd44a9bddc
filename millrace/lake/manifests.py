"""Landing manifests in the lake: a path in, the manifest out."""

from functools import lru_cache

from millrace.domain.errors import EventRefused
from millrace.domain.landing import LandingManifest
from millrace.lake.store import Lake


def read_manifest(lake: Lake, path: str) -> LandingManifest:
    """A manifest; it never changes, so it is read once a process.

    Raises:
        EventRefused: it is no manifest.
    """
    return _read_manifest(_Same(lake), path)


class _Same:
    """A lake that is equal to another with the same address."""

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
def _read_manifest(where: _Same, path: str) -> LandingManifest:
    try:
        return LandingManifest.model_validate_json(where.lake.read(path))
    except ValueError as error:
        raise EventRefused(f"{where.lake.url}/{path} is no landing manifest: {error}; delete it, or mend it") from error
