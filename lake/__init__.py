"""The data lake: an object store behind a URL."""

from lake.store import Lake, ObjectExists, ObjectInfo, ObjectMissing, open_lake

__all__ = ["Lake", "ObjectExists", "ObjectInfo", "ObjectMissing", "open_lake"]
