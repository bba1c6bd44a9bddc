"""The lake in a local folder, so that all peers read the same local files; for benchmarks only."""

import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from millrace.domain.errors import ObjectExists, ObjectMissing
from millrace.lake import open as opening
from millrace.lake.store import Lake, ObjectInfo

SCHEME = "file://"
UNFINISHED = ".unfinished"
_open_lake = opening.open_lake


class FolderLake:
    """Objects are files; an object's generation is its file's time of change in nanoseconds, which only grows."""

    def __init__(self, url: str, endpoint: str = "") -> None:
        self.url, self.endpoint = url.rstrip("/"), endpoint
        self._root = Path(self.url.removeprefix(SCHEME))

    def read(self, name: str, generation: int | None = None) -> bytes:
        """Bytes of an object. Raises ObjectMissing."""
        with self.open(name, generation) as file:
            return file.read()

    def open(self, name: str, generation: int | None = None) -> BinaryIO:
        """A seekable reader. Raises ObjectMissing."""
        try:
            file = (self._root / name).open("rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise ObjectMissing(f"{self.url}/{name} does not exist") from error
        newest = os.fstat(file.fileno()).st_mtime_ns
        if generation not in (None, newest):
            file.close()
            raise ObjectMissing(f"{self.url}/{name}#{generation} does not exist; #{newest} is")
        return file

    def write(self, name: str, data: bytes, content_type: str = "application/octet-stream") -> int:
        """Write or replace an object; returns its generation."""
        with self._unfinished() as file:
            file.write_bytes(data)
            return self._replace(file, name)

    def create(self, name: str, data: bytes, content_type: str = "application/json") -> int:
        """Write an object that must not exist yet. Raises ObjectExists."""
        with self._unfinished() as file:
            file.write_bytes(data)
            _stamp(file, 0)
            return self.link(name, file)

    def replace(self, name: str, data: bytes, generation: int, content_type: str, metadata: dict[str, str]) -> int:
        """Write an object over a generation; the metadata is lost. Raises ObjectExists."""
        current = self.stat(name)
        if (current.generation if current else 0) != generation:
            raise ObjectExists(f"{self.url}/{name} is no longer generation {generation}")
        return self.write(name, data, content_type)

    def address(self, name: str) -> str:
        """The object's file."""
        return f"{self.url}/{name}"

    def upload(self, name: str, path: str, content_type: str = "application/octet-stream") -> int:
        """Write a local file as an object; returns its generation."""
        with self._unfinished() as file:
            _link(Path(path), file)
            return self._replace(file, name)

    def download(self, name: str, path: str) -> None:
        """Write an object to a local file. Raises ObjectMissing."""
        try:
            _link(self._root / name, Path(path))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise ObjectMissing(f"{self.url}/{name} does not exist") from error

    def link(self, name: str, file: Path) -> int:
        """Make a file an object without copying it; returns its generation. Raises ObjectExists."""
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target)
        except FileExistsError as error:
            raise ObjectExists(f"{self.url}/{name} exists already") from error
        return target.stat().st_mtime_ns

    def list(self, prefix: str, start: str | None = None) -> Iterator[ObjectInfo]:
        """Objects whose names have the prefix, in order, from `start` on."""
        folder = prefix.rpartition("/")[0]
        names = sorted(n for n in self._names(folder) if n.startswith(prefix) and (start is None or n >= start))
        yield from (info for name in names if (info := self.stat(name)))

    def stat(self, name: str) -> ObjectInfo | None:
        """Return an object's metadata, None when it does not exist."""
        try:
            status = (self._root / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not S_ISREG(status.st_mode):
            return None
        return ObjectInfo(name, status.st_mtime_ns, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def delete(self, name: str, generation: int | None = None) -> None:
        """Delete an object; nothing happens when it, or that generation, is gone."""
        info = self.stat(name)
        if info and generation in (None, info.generation):
            (self._root / name).unlink(missing_ok=True)

    def _names(self, folder: str) -> Iterator[str]:
        for path, _, files in os.walk(self._root / folder):
            inside = Path(path).relative_to(self._root).as_posix()
            if inside != UNFINISHED:
                yield from (file if inside == "." else f"{inside}/{file}" for file in files)

    @contextmanager
    def _unfinished(self) -> Iterator[Path]:
        """Write to a temporary file first, so that every write is whole or absent."""
        file = self._root / UNFINISHED / uuid.uuid4().hex
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)

    def _replace(self, file: Path, name: str) -> int:
        target, before = self._root / name, self.stat(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        _stamp(file, before.generation if before else 0)
        generation = file.stat().st_mtime_ns
        file.replace(target)
        return generation


def _link(source: Path, target: Path) -> None:
    """Link a finished file under another name: other peers also read files in place, without a copy."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # the folder of temporary files is on another device
        shutil.copyfile(source, target)


def _stamp(file: Path, after: int) -> None:
    """Give a file its generation; the file system's clock is too coarse to distinguish two writes."""
    now = max(time.time_ns(), after + 1)
    os.utime(file, ns=(now, now))


def open_lake(url: str, endpoint: str = "") -> Lake:
    """Open `file://<folder>`, and all that the platform opens."""
    return FolderLake(url, endpoint) if url.startswith(SCHEME) else _open_lake(url, endpoint)


def teach_open_lake() -> None:
    """Let Beam's steps, imported ones included, open a folder by its address, as they open any lake."""
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get("open_lake") is _open_lake:
            vars(module)["open_lake"] = open_lake
