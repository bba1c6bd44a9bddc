"""What a peer's process is told, as JSON. Standard library only."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.merge.table import DATABASE


@dataclass(frozen=True)
class Place:
    """A peer's folder, the landed files to take in, and the table's key."""

    folder: str
    files: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def database(self) -> str:
        """The DuckDB file that has the table."""
        return str(Path(self.folder) / DATABASE)

    @property
    def avro(self) -> bool:
        """Whether the files are Avro; else they are Parquet."""
        return self.files[0].endswith(".avro")


@dataclass(frozen=True)
class Job:
    """Make the table of `place`; or, with a place to warm up, merge that one and then, measured, `place`."""

    module: str
    place: Place
    warm_up: Place | None = None

    def write(self, path: Path) -> Path:
        """Keep it as JSON."""
        path.write_text(json.dumps(asdict(self)))
        return path


def read_job(path: str) -> Job:
    """The job again."""
    body = json.loads(Path(path).read_text())
    return Job(body["module"], _place(body["place"]), _place(body["warm_up"]) if body["warm_up"] else None)


def _place(body: dict[str, Any]) -> Place:
    return Place(str(body["folder"]), tuple(body["files"]), tuple(body["key"]))


class Peer(Protocol):
    """A module that makes a table out of files, each key once, and merges files into it."""

    prepare: Callable[[Place], None]
    merge: Callable[[Place], None]
