"""The warehouse and the event bus as blocks."""

from prefect.blocks.core import Block
from pydantic import Field

from events.bus import EventBus
from events.dead_letters import DeadLetters
from warehouse.port import Warehouse, open_warehouse
from warehouse.reader import Read, reader_of


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


class MillraceEventBus(Block):
    """Topics of one project on Pub/Sub."""

    _block_type_name = "Millrace Event Bus"
    _block_type_slug = "millrace-event-bus"

    project: str = Field(description="Project of the topics.")
    endpoint: str = Field(default="", description="Address of a server other than Google's.")

    def open(self) -> EventBus:
        """A publisher."""
        return EventBus(self.project, self.endpoint)

    def open_dead_letters(self) -> DeadLetters:
        """What could not be delivered."""
        return DeadLetters(self.project, self.endpoint)
