"""Peer: the platform's merge, over a lake in a folder and a DuckDB warehouse, without events."""

from datetime import UTC, datetime
from pathlib import Path

from beam_job.batches import Limits
from beam_job.merge import merge_stream
from bench.merge.folder_lake import teach_open_lake
from bench.merge.job import Workspace
from bench.merge.landing import contract, lake_in
from millrace.warehouse.duckdb.engine import SCHEME
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse


def prepare(workspace: Workspace) -> None:
    """Merge each landed sync in its own batch."""
    _merge(workspace, Limits(max_bytes=1))


def merge(workspace: Workspace) -> None:
    """Merge all that is landed, within the limits that the platform has by default."""
    _merge(workspace, Limits())


def _merge(workspace: Workspace, limits: Limits) -> None:
    teach_open_lake()
    folder = Path(workspace.folder)
    warehouse = DuckDBWarehouse(f"{SCHEME}{workspace.database}", f"{SCHEME}{folder / 'published.duckdb'}")
    merge_stream(
        lake_in(folder),
        warehouse,
        None,
        contract(workspace.key),
        limits=limits,
        run_id="bench",
        clock=lambda: datetime.now(UTC),
    )
