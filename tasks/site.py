"""Keeps a folder of pages in the lake's bucket."""

import mimetypes
from pathlib import Path

from contracts import names
from lake.store import Lake


def upload_site(lake: Lake, folder: Path, site: str) -> int:
    """Upload a folder as `_site/<site>/`; returns the number of files."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        lake.upload(f"{names.SITE}{site}/{path.relative_to(folder).as_posix()}", str(path), content_type)
    return len(files)
