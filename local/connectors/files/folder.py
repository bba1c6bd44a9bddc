"""A configuration in; the files of a folder or bucket, grouped into streams, out."""

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import Any

from pyarrow import fs

from local.connectors.protocol import ConnectorError, Json

FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
COMPRESSED = (".gz", ".bz2", ".zst")
OUTSIDE = re.compile(r"[^a-z0-9_]+")


@dataclass(frozen=True)
class File:
    """One file: its path in the folder, and what tells that it has changed."""

    name: str
    path: str
    format: str
    size: int
    changed: datetime

    @property
    def version(self) -> str:
        """Return a text that differs once the file was changed."""
        return f"{self.changed.isoformat()} {self.size}"


class Folder:
    """A folder of files: those in a subfolder are one stream, and each file beside it is one of its own."""

    def __init__(self, config: Json) -> None:
        self.url = str(config["url"])
        self.system, self._path = _open(self.url, config)

    def streams(self) -> dict[str, list[File]]:
        """Return the files by stream, the oldest first.

        Raises:
            ConnectorError: there are none, or two names become one.
        """
        selector = fs.FileSelector(self._path, recursive=True)
        streams: dict[str, list[File]] = {}
        owners: dict[str, str] = {}
        for info in self.system.get_file_info(selector):
            file = _file(info, self._path)
            if info.type != fs.FileType.File or file is None:
                continue
            owner = PurePosixPath(file.name).parts[0]
            stem = owner if "/" in file.name else _stem(owner)
            name = OUTSIDE.sub("_", stem.lower()).strip("_")
            name = name if name[:1].isalpha() else f"files_{name}"
            if owners.setdefault(name, owner) != owner:
                raise ConnectorError(f"{owners[name]} and {owner} would both be stream {name}; rename one")
            streams.setdefault(name, []).append(file)
        if not streams:
            raise ConnectorError(f"{self.url} has no file of {', '.join(FORMATS)}")
        return {name: sorted(files, key=lambda f: (f.changed, f.name)) for name, files in sorted(streams.items())}


def _open(url: str, config: Json) -> tuple[fs.FileSystem, str]:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        folder = Path(rest if separator else url)
        if not folder.is_dir():
            raise ConnectorError(f"{folder} is not a folder on this machine")
        return fs.LocalFileSystem(), str(folder.resolve())
    endpoint: dict[str, Any] = (
        {"endpoint_override": config["endpoint"], "scheme": "http"} if config.get("endpoint") else {}
    )
    if scheme in ("gs", "gcs"):
        if key := config.get("service_account"):
            with NamedTemporaryFile("w", suffix=".json", delete=False) as file:  # in the connector's own folder
                file.write(str(key))
            os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = file.name
        return fs.GcsFileSystem(anonymous=bool(endpoint), **endpoint), rest.rstrip("/")
    if scheme == "s3":
        names = {"access_key": "access_key", "secret_key": "secret_key", "region": "region"}
        credentials = {argument: config[name] for name, argument in names.items() if config.get(name)}
        return fs.S3FileSystem(**credentials, **endpoint), rest.rstrip("/")
    raise ConnectorError(f"url {url!r}: expected a folder, gs:// or s3://")


def _file(info: fs.FileInfo, folder: str) -> File | None:
    name = info.path.removeprefix(folder).lstrip("/")
    plain = name
    for ending in COMPRESSED:
        plain = plain.removesuffix(ending)
    kind = FORMATS.get(PurePosixPath(plain).suffix.lower())
    if kind is None or any(part.startswith((".", "_")) for part in PurePosixPath(name).parts):
        return None
    return File(name, info.path, kind, info.size, info.mtime or datetime.fromtimestamp(0, UTC))


def _stem(name: str) -> str:
    return name.split(".")[0]
