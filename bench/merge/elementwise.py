"""Peer: Beam as its tutorials show it, an element for each row; then the merge that raw DuckDB does."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from bench.merge import raw
from bench.merge.job import Workspace
from bench.merge.table import COLUMNS, ORDER

prepare = raw.prepare

Row = dict[str, Any]


def merge(workspace: Workspace) -> None:
    """Take the newest row of each key with Beam, write those as Parquet, and merge them."""
    picked = Path(workspace.folder) / "picked"
    run_pipeline(workspace, str(picked / "part"))
    with duckdb.connect(workspace.database) as db:
        db.execute(f"CREATE TEMP TABLE picked AS FROM {raw.files(str(p) for p in sorted(picked.iterdir()))}")
        db.execute(raw.TUNED)
        db.execute(raw.merge_picked(workspace.key))


def run_pipeline(workspace: Workspace, output: str) -> None:
    """Parquet files → rows → newest row of each key → Parquet files."""
    schema = pq.read_schema(workspace.files[0])
    columns = [name for name in schema.names if name in COLUMNS]
    written = pa.schema([schema.field(name) for name in columns])
    key = workspace.key

    def keyed(row: Row) -> tuple[tuple[Any, ...], Row]:
        return tuple(row[name] for name in key), row

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = (
            pipeline
            | "read" >> beam.io.ReadFromParquet(f"{Path(workspace.files[0]).parent}/*.parquet", columns=columns)
            | "key" >> beam.Map(keyed)
            | "newest" >> beam.CombinePerKey(newest)
            | "rows" >> beam.Values()
            | "write" >> beam.io.WriteToParquet(output, written, file_name_suffix=".parquet")
        )


def newest(rows: Iterable[Row]) -> Row:
    """The row with the highest position."""
    return max(rows, key=lambda row: int(row[ORDER]), default={})
