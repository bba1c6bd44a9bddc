"""Peer: the platform's merge, over a lake in a folder and a DuckDB warehouse, without events."""

from datetime import UTC, datetime
from pathlib import Path

from beam_job.batches import Limits
from beam_job.merge import merge_stream
from bench.merge.folder_lake import teach_open_lake
from bench.merge.job import Place
from bench.merge.landing import contract, lake_in
from millrace.warehouse.duckdb.warehouse import SCHEME, DuckDBWarehouse


def prepare(place: Place) -> None:
    """Merge each landed sync by itself."""
    _merge(place, Limits(max_bytes=1))


def merge(place: Place) -> None:
    """Merge all that is landed, within the limits that the platform has by default."""
    _merge(place, Limits())


def _merge(place: Place, limits: Limits) -> None:
    teach_open_lake()
    folder = Path(place.folder)
    warehouse = DuckDBWarehouse(f"{SCHEME}{place.database}", f"{SCHEME}{folder / 'published.duckdb'}")
    merge_stream(
        lake_in(folder),
        warehouse,
        None,
        contract(place.key),
        limits=limits,
        run_id="bench",
        clock=lambda: datetime.now(UTC),
    )
