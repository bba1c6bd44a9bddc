"""Keeps a folder of pages in the lake's bucket."""

import mimetypes
from collections.abc import Collection
from pathlib import Path

from millrace.domain import names
from millrace.lake.store import Lake


def upload_site(lake: Lake, folder: Path, site: str, keep: Collection[str] = ()) -> int:
    """Make `_site/<site>/` hold what a folder holds, and what it held whose name is in `keep`; returns how many."""
    prefix = f"{names.SITE}{site}/"
    files = {prefix + path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name, path in sorted(files.items()):
        lake.upload(name, str(path), mimetypes.guess_type(path.name)[0] or "application/octet-stream")
    for leftover in lake.list(prefix):
        if leftover.name not in files and leftover.name not in keep:
            lake.delete(leftover.name)
    return len(files)
