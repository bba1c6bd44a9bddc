"""The answers of BigQuery for `bigquery://` URLs; Google's client is imported on use."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.bigquery.sql import SCHEME, Namespace, split_url
from millrace.warehouse.port import GateConnection, Warehouse
from millrace.warehouse.reader import SCHEMA, Read

if TYPE_CHECKING:
    from millrace.warehouse.bigquery.jobs import Jobs


def _marts_of(settings: WarehouseSettings) -> "tuple[Jobs, str]":
    """Return a client of the marts' dataset, and the quoted beginning of its tables' names. Raises SettingsError."""
    from millrace.warehouse.bigquery.jobs import Jobs
    from millrace.warehouse.bigquery.marts import dataset_of

    namespace = Namespace.of(settings.url)
    jobs = Jobs(namespace, settings.endpoint, settings.max_bytes_billed)
    return jobs, f"`{namespace.project}`.`{namespace.dataset(dataset_of(settings.marts_url, namespace))}`."


class BigQueryEngine:
    """BigQuery, or a server at `endpoint` that implements its API."""

    scheme = SCHEME

    def open_warehouse(self, settings: WarehouseSettings, retry_s: float) -> Warehouse:
        """Open the warehouse in datasets of a project. Raises SettingsError."""
        from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse

        return BigQueryWarehouse(
            settings.url,
            settings.marts_url,
            endpoint=settings.endpoint,
            max_bytes_billed=settings.max_bytes_billed,
            keep_candidates_days=settings.keep_candidates_days,
            keep_journal_days=settings.keep_journal_days,
            retry_s=retry_s,
        )

    def open_marts(self, settings: WarehouseSettings) -> Read:
        """Return the function that queries the dataset of the marts. Raises SettingsError."""
        jobs, dataset = _marts_of(settings)
        return lambda sql: jobs.table(sql.replace(SCHEMA, dataset), step="read")

    def export_marts(self, settings: WarehouseSettings, folder: Path) -> list[Path]:
        """Write a Parquet file of each mart. Raises MartsMissing."""
        from millrace.warehouse.bigquery.export import export_marts

        return export_marts(*_marts_of(settings), folder)

    def gate_connection(self, url: str, schema: str) -> GateConnection:
        """Return a connection to a dataset, whose queries have labels and the bounds that the URL names.

        `?endpoint=` is the address of a server other than Google's, `&location=` that of the dataset, and
        `&maximum_bytes_billed=` the most bytes that a query may bill (0: no limit).
        """
        parts = urlsplit(url)
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        endpoint = options.get("endpoint", "")
        from google.cloud import bigquery

        from millrace.access import credentials

        project, dataset = split_url(f"{SCHEME}{parts.netloc}{parts.path}")
        bound = int(options.get("maximum_bytes_billed", 0))  # the client would send the text "None" for no bound
        config = {"maximum_bytes_billed": bound} if bound else {}
        client = bigquery.Client(
            project,
            credentials=credentials(endpoint),
            location=options.get("location"),
            client_options={"api_endpoint": endpoint} if endpoint else None,
            default_query_job_config=bigquery.QueryJobConfig(
                default_dataset=f"{project}.{dataset}",
                labels={"millrace_step": "gate"},
                **config,
            ),
        )
        return GateConnection(f"{SCHEME}{project}/{dataset}?user_supplied_client=True", {"client": client})

    def looker_dataset(self, marts_url: str) -> tuple[str, str] | None:
        """Return project and dataset of the marts, None when the URL names no dataset."""
        project, dataset = split_url(marts_url)
        return (project, dataset) if dataset else None
