"""The job of a peer's process, as JSON. Standard library only."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.merge.table import DATABASE


@dataclass(frozen=True)
class Workspace:
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
        """True when the files are Avro; else they are Parquet."""
        return self.files[0].endswith(".avro")


@dataclass(frozen=True)
class Job:
    """Make the table of `workspace`; with `warm_up` merge that first, and then `workspace`, which is measured."""

    module: str
    workspace: Workspace
    warm_up: Workspace | None = None

    def write(self, path: Path) -> Path:
        """Keep it as JSON."""
        path.write_text(json.dumps(asdict(self)))
        return path


def read_job(path: str) -> Job:
    """The job again."""
    body = json.loads(Path(path).read_text())
    return Job(body["module"], _workspace(body["workspace"]), _workspace(body["warm_up"]) if body["warm_up"] else None)


def _workspace(body: dict[str, Any]) -> Workspace:
    return Workspace(str(body["folder"]), tuple(body["files"]), tuple(body["key"]))


class Peer(Protocol):
    """A module that makes a table out of files, each key once, and merges files into it."""

    prepare: Callable[[Workspace], None]
    merge: Callable[[Workspace], None]
