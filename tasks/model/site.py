"""Uploads a folder of pages to the lake's bucket."""

import mimetypes
from collections.abc import Collection
from pathlib import Path

from millrace.domain import names
from millrace.lake.store import Lake


def upload_site(lake: Lake, folder: Path, site: str, keep: Collection[str] = ()) -> int:
    """Replace `_site/<site>/` by the files of a folder, except the objects in `keep`; returns the number of files."""
    prefix = f"{names.SITE}{site}/"
    files = {prefix + path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name, path in sorted(files.items()):
        lake.upload(name, str(path), mimetypes.guess_type(path.name)[0] or "application/octet-stream")
    for obj in lake.list(prefix):
        if obj.name not in files and obj.name not in keep:
            lake.delete(obj.name)
    return len(files)
