"""Open a lake by its URL."""

from millrace.domain.errors import SettingsError
from millrace.lake.store import Lake


def open_lake(url: str, endpoint: str = "") -> Lake:
    """Open the lake at `gs://<bucket>`; `endpoint` is the address of a server other than Google's.

    Raises:
        SettingsError: the URL's scheme is not known.
    """
    if url.startswith("gs://"):
        from millrace.lake.gcs import GcsLake  # imports Google's client, which not all need

        return GcsLake(url, endpoint)
    raise SettingsError(f"lake.url is {url!r}; expected gs://<bucket>")
