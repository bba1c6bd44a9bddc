"""The URL of a lake in, its client out."""

from millrace.domain.errors import SettingsError
from millrace.lake.store import Lake


def open_lake(url: str, endpoint: str = "") -> Lake:
    """Open the lake at `gs://<bucket>`; `endpoint` is the address of a server other than Google's.

    Raises:
        SettingsError: the URL has an unknown scheme.
    """
    if url.startswith("gs://"):
        from millrace.lake.gcs import GcsLake  # imports Google's client, which not every process needs

        return GcsLake(url, endpoint)
    raise SettingsError(f"lake.url is {url!r}; expected gs://<bucket>")
