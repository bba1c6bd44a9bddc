"""The lake's bucket for the destination, which only adds objects and never overwrites one."""

import itertools

from google.api_core.exceptions import PreconditionFailed
from google.cloud import storage

GENERATION = "ab-generation-id"


class Bucket:
    """One bucket."""

    def __init__(self, client: storage.Client, name: str) -> None:
        self._bucket = client.bucket(name)

    def upload(self, name: str, data: bytes, metadata: dict[str, str]) -> None:
        """Write an object; a name that is taken gets `-1`, `-2`, … appended."""
        for number in itertools.count():
            blob = self._bucket.blob(f"{name}-{number}" if number else name)
            blob.metadata = metadata
            try:
                blob.upload_from_string(data, content_type="application/octet-stream", if_generation_match=0)
                return
            except PreconditionFailed:
                continue

    def delete_older(self, prefix: str, generation: int) -> None:
        """Delete a stream's objects of generations before this one."""
        for blob in list(self._bucket.list_blobs(prefix=prefix)):
            if int((blob.metadata or {}).get(GENERATION, generation)) < generation:
                blob.delete()
