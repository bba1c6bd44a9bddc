"""The warehouse as a block."""

from prefect.blocks.core import Block
from pydantic import Field

from millrace.warehouse.port import Warehouse, open_warehouse
from millrace.warehouse.reader import Read, reader_of


class MillraceWarehouse(Block):
    """Merged tables, ledger and marts on DuckDB or BigQuery."""

    _block_type_name = "Millrace Warehouse"
    _block_type_slug = "millrace-warehouse"

    url: str = Field(description="duckdb:///<file> or bigquery://<project>/<location>[/<prefix>]")
    marts_url: str = Field(description="Where readers find the published marts.")
    endpoint: str = Field(default="", description="Address of a BigQuery other than Google's.")
    max_bytes_billed: int = Field(default=0, description="Most bytes one commit or query reads on BigQuery; 0: any.")
    lock_timeout_s: float = Field(default=120, description="How long to wait for another writer, in seconds.")

    keep_candidates_days: float = Field(default=3, description="How long candidates that did not pass are kept.")

    def open(self) -> Warehouse:
        """A client of the warehouse."""
        return open_warehouse(
            self.url,
            self.marts_url,
            self.lock_timeout_s,
            self.keep_candidates_days,
            endpoint=self.endpoint,
            max_bytes_billed=self.max_bytes_billed,
        )

    def open_marts(self) -> Read:
        """What readers of the marts see: a function that answers queries over them."""
        return reader_of(self.url, self.marts_url, endpoint=self.endpoint, max_bytes_billed=self.max_bytes_billed)
