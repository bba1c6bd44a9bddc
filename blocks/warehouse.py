"""A block with the warehouse's address and limits; opened, a client of the warehouse or a reader of the marts."""

from pathlib import Path

from prefect.blocks.core import Block
from pydantic import Field

from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.engines import export_marts, open_marts, open_warehouse
from millrace.warehouse.port import Warehouse
from millrace.warehouse.reader import Read


class MillraceWarehouse(Block):
    """Merged tables, ledger and marts on DuckDB or BigQuery."""

    _block_type_name = "Millrace Warehouse"
    _block_type_slug = "millrace-warehouse"

    url: str = Field(description="duckdb:///<file> or bigquery://<project>/<location>[/<prefix>]")
    marts_url: str = Field(description="Address of the published marts.")
    endpoint: str = Field(default="", description="Address of a BigQuery other than Google's.")
    max_bytes_billed: int = Field(default=0, description="Most bytes one commit or query reads on BigQuery; 0: any.")
    lock_timeout_s: float = Field(default=120, description="Seconds to wait for another writer.")

    keep_candidates_days: float = Field(default=3, description="Days to keep candidates that were not published.")
    keep_journal_days: float = Field(default=90, description="Days to keep the journal of publications on BigQuery.")

    def open(self) -> Warehouse:
        """Return a client of the warehouse."""
        return open_warehouse(self._settings())

    def open_marts(self) -> Read:
        """Return a function that answers queries over the published marts."""
        return open_marts(self._settings())

    def export_marts(self, folder: Path) -> list[Path]:
        """Write a Parquet file of each published mart into a folder; return the files."""
        return export_marts(self._settings(), folder)

    def _settings(self) -> WarehouseSettings:
        return WarehouseSettings.model_validate(self.model_dump(include=set(WarehouseSettings.model_fields)))
