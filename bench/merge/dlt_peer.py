"""Peer: dlt in an environment of its own, with what makes it fastest: Arrow tables in, Parquet to load, delete-insert.

Slower were: importing the files as they are, and small buffers. `upsert` is not usable: it keeps duplicates of a batch.
dlt may leave its changes in DuckDB's log, to be applied by the next process that opens the file: every peer ends with a
checkpoint, or the work would only be put off.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from bench.merge.job import Workspace
from bench.merge.table import COLUMNS, ORDER, RELATION

DATASET, TABLE = RELATION.split(".")
SETTINGS = {
    "DATA_WRITER__BUFFER_MAX_ITEMS": "1000000",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
}


def prepare(workspace: Workspace) -> None:
    """Load the table; its keys are unique."""
    _run(workspace, "replace")


def merge(workspace: Workspace) -> None:
    """Merge by key, the row with the highest position first."""
    _run(workspace, {"disposition": "merge", "strategy": "delete-insert"})


def _run(workspace: Workspace, disposition: Any) -> None:
    os.environ.update(SETTINGS)
    resource = dlt.resource(
        _tables(workspace),
        name=TABLE,
        primary_key=workspace.key,
        write_disposition=disposition,
        columns={ORDER: {"dedup_sort": "desc"}},
    )
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(Path(workspace.folder) / "pipelines"),
        dataset_name=DATASET,
        destination=dlt.destinations.duckdb(workspace.database),
    )
    pipeline.run(resource, loader_file_format="parquet").raise_on_failed_jobs()
    with duckdb.connect(workspace.database) as db:
        db.execute("CHECKPOINT")


def _tables(workspace: Workspace) -> Iterator[pa.Table]:
    for file in workspace.files:
        yield _read_avro(file) if workspace.avro else pq.read_table(file, columns=list(COLUMNS))


def _read_avro(file: str) -> pa.Table:
    import polars as pl

    return pl.read_avro(file, columns=list(COLUMNS)).to_arrow()
