"""The answers of BigQuery for `bigquery://` URLs; Google's client is imported on use."""

from urllib.parse import parse_qs, urlsplit

from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.bigquery.sql import SCHEME, Namespace, split_url
from millrace.warehouse.port import GateConnection, Warehouse
from millrace.warehouse.reader import SCHEMA, Read


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
            retry_s=retry_s,
        )

    def open_marts(self, settings: WarehouseSettings) -> Read:
        """Return the function that queries the dataset of the marts. Raises SettingsError."""
        from millrace.warehouse.bigquery.jobs import Jobs
        from millrace.warehouse.bigquery.marts import dataset_of

        namespace = Namespace.of(settings.url)
        jobs = Jobs(namespace, settings.endpoint, settings.max_bytes_billed)
        dataset = f"`{namespace.project}`.`{namespace.dataset(dataset_of(settings.marts_url, namespace))}`."
        return lambda sql: jobs.table(sql.replace(SCHEMA, dataset), step="read")

    def gate_connection(self, url: str, schema: str) -> GateConnection:
        """Return a connection to a dataset; `?endpoint=` is the address of a server other than Google's."""
        parts = urlsplit(url)
        endpoint = parse_qs(parts.query).get("endpoint", [""])[0]
        if not endpoint:
            return GateConnection(url)
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery

        project, dataset = split_url(f"{SCHEME}{parts.netloc}{parts.path}")
        client = bigquery.Client(
            project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": endpoint},
            default_query_job_config=bigquery.QueryJobConfig(default_dataset=f"{project}.{dataset}"),
        )
        return GateConnection(f"{SCHEME}{project}/{dataset}?user_supplied_client=True", {"client": client})

    def looker_dataset(self, marts_url: str) -> tuple[str, str] | None:
        """Return project and dataset of the marts, None when the URL names no dataset."""
        project, dataset = split_url(marts_url)
        return (project, dataset) if dataset else None
