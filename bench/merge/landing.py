"""The stream whose rows are merged, and its syncs: data files become objects of a lake, with a manifest."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.merge.folder_lake import SCHEME, FolderLake
from bench.merge.table import BY_DAY, COLUMNS, ORDER
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.lake.footers import count_rows

SOURCE, STREAM = "bench", "rows"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = {
    "BIGINT": "int64",
    "DATE": "date",
    "TIMESTAMPTZ": "timestamp",
    "DOUBLE": "float64",
    "BOOLEAN": "bool",
    "VARCHAR": "string",
}
TARGET_FILES = 10  # files of a hundred thousand rows that one sync of the target has


def lake_in(folder: Path) -> FolderLake:
    """The lake of a run."""
    return FolderLake(f"{SCHEME}{folder / 'lake'}")


def contract(key: Sequence[str]) -> StreamContract:
    """The stream with a key; one that begins with the day is partitioned by it."""
    columns = {name: {"type": TYPES[kind], "nullable": name not in key} for name, kind in COLUMNS.items()}
    return StreamContract.model_validate(
        {
            "source": SOURCE,
            "stream": STREAM,
            "mode": "append",
            "key": key,
            "order": [ORDER],
            "columns": columns,
            "partition": {"column": "day"} if tuple(key) == BY_DAY else None,
        }
    )


def land_target(folder: Path, files: Sequence[Path]) -> None:
    """Land the table's rows as several syncs, so that no merge of them is large."""
    for job, first in enumerate(range(0, len(files), TARGET_FILES), 1):
        land(folder, files[first : first + TARGET_FILES], job)


def land(folder: Path, files: Sequence[Path], job_id: int) -> list[Path]:
    """Land one sync; returns its objects as files."""
    lake = lake_in(folder)
    created = BEGAN + timedelta(hours=job_id)
    objects = tuple(_land_files(lake, files, job_id))
    manifest = LandingManifest(
        source=SOURCE,
        stream=STREAM,
        connection_id="bench",
        job_id=job_id,
        job_created_at=created,
        outcome="succeeded",
        sync_mode="append",
        objects=objects,
        landed_at=created,
    )
    path = names.manifest_path(SOURCE, STREAM, created, "bench", job_id)
    lake.create(path, manifest.model_dump_json().encode())
    return [folder / "lake" / o.name for o in objects]


def _land_files(lake: FolderLake, files: Sequence[Path], job_id: int) -> Iterator[LandedObject]:
    for file in files:
        name = f"{names.sync_prefix(SOURCE, STREAM, job_id)}{file.name}"
        generation = lake.link(name, file)
        yield LandedObject(name=name, generation=generation, size=file.stat().st_size, rows=count_rows(lake, name))
