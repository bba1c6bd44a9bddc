"""The table of engines by the scheme of a URL: settings and URLs come in, the answers of their engine go out.

No other module tests a scheme, but for the engines themselves.
"""

from pathlib import Path

from millrace.domain.errors import SettingsError
from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.bigquery.engine import BigQueryEngine
from millrace.warehouse.duckdb.engine import DuckDBEngine
from millrace.warehouse.port import Engine, GateConnection, Warehouse
from millrace.warehouse.reader import Read

ENGINES: tuple[Engine, ...] = (DuckDBEngine(), BigQueryEngine())
WAREHOUSES = "duckdb:///<file> or bigquery://<project>/<location>"
DATASETS = "duckdb:///<file> or bigquery://<project>/<dataset>"


def open_warehouse(settings: WarehouseSettings, *, retry_s: float = 600.0) -> Warehouse:
    """Open the warehouse at `settings.url`; calls to a cloud service are retried for `retry_s`.

    Raises:
        SettingsError: no engine has the URL's scheme, or the URL is malformed.
    """
    return _engine_of(settings.url, "warehouse.url", WAREHOUSES).open_warehouse(settings, retry_s)


def open_marts(settings: WarehouseSettings) -> Read:
    """Return a function that queries the published marts at `settings.marts_url`; no other table is ever opened.

    Raises:
        SettingsError: no engine has the URL's scheme, or (by the function) nothing was published yet.
        WarehouseRefused: the engine rejected the query (by the function).
    """
    return _engine_of(settings.marts_url, "warehouse.marts_url", DATASETS).open_marts(settings)


def export_marts(settings: WarehouseSettings, folder: Path) -> list[Path]:
    """Write `<mart>.parquet` of every published mart into a folder; return the files.

    Raises:
        SettingsError: no engine has the URL's scheme.
        MartsMissing: nothing is published.
    """
    return _engine_of(settings.marts_url, "warehouse.marts_url", DATASETS).export_marts(settings, folder)


def gate_connection(url: str, schema: str) -> GateConnection:
    """Return the connection of the quality gate to a candidate, or to the merged tables.

    Raises:
        SettingsError: no engine has the URL's scheme.
        CandidateMissing: the URL names a file that does not exist.
    """
    return _engine_of(url, "the candidate's URL", DATASETS).gate_connection(url, schema)


def looker_dataset(marts_url: str) -> tuple[str, str] | None:
    """Return project and dataset of the marts for Looker Studio, None when it can't read them. Raises SettingsError."""
    return _engine_of(marts_url, "warehouse.marts_url", DATASETS).looker_dataset(marts_url)


def _engine_of(url: str, setting: str, expected: str) -> Engine:
    for engine in ENGINES:
        if url.startswith(engine.scheme):
            return engine
    raise SettingsError(f"{setting} is {url!r}; expected {expected}")
