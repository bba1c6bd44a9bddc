"""Landing manifests in the lake: a path in, the manifest out."""

from functools import lru_cache

from millrace.domain.errors import EventRefused
from millrace.domain.landing import LandingManifest
from millrace.lake.store import Lake


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
