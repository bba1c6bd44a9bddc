"""The data lake: an object store behind a URL."""

from millrace.lake.open import open_lake
from millrace.lake.store import Lake, ObjectExists, ObjectInfo, ObjectMissing

__all__ = ["Lake", "ObjectExists", "ObjectInfo", "ObjectMissing", "open_lake"]
