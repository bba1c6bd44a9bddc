"""The answers of DuckDB for `duckdb:///<file>` URLs; DuckDB itself is imported on use."""

from pathlib import Path

from millrace.domain.errors import CandidateMissing, SettingsError
from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.port import GateConnection, Warehouse
from millrace.warehouse.reader import Read

SCHEME = "duckdb:///"


def file_of(url: str) -> Path:
    """Return the file that a `duckdb:///<file>` URL names. Raises SettingsError."""
    if not url.startswith(SCHEME) or len(url) == len(SCHEME):
        raise SettingsError(f"{url!r} is not the URL of a DuckDB file; expected {SCHEME}<file>")
    return Path(url.removeprefix(SCHEME)).resolve()


class DuckDBEngine:
    """DuckDB in files of this machine."""

    scheme = SCHEME

    def open_warehouse(self, settings: WarehouseSettings, retry_s: float) -> Warehouse:
        """Open the warehouse in a file. Raises SettingsError."""
        from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse

        return DuckDBWarehouse(
            settings.url,
            settings.marts_url,
            settings.lock_timeout_s,
            keep_candidates_days=settings.keep_candidates_days,
        )

    def open_marts(self, settings: WarehouseSettings) -> Read:
        """Return the function that queries the file of the marts, opened for each query. Raises SettingsError."""
        from millrace.warehouse.duckdb.marts import read

        file = file_of(settings.marts_url)
        return lambda sql: read(file, sql)

    def export_marts(self, settings: WarehouseSettings, folder: Path) -> list[Path]:
        """Write a Parquet file of each mart. Raises MartsMissing."""
        from millrace.warehouse.duckdb.export import export_marts

        return export_marts(file_of(settings.marts_url), folder)

    def gate_connection(self, url: str, schema: str) -> GateConnection:
        """Return a read-only connection; some queries of Great Expectations leave out the schema.

        Raises:
            CandidateMissing: the file does not exist.
        """
        file = file_of(url)
        if not file.exists():
            raise CandidateMissing(f"no candidate {file}; run model again")
        return GateConnection(url, {"read_only": True}, f"USE {schema}" if schema else "")

    def looker_dataset(self, marts_url: str) -> None:
        """Return None: Looker Studio does not read DuckDB."""
