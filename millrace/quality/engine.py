"""Opens Great Expectations over a warehouse, and closes it. Importing this imports Great Expectations: do it on use."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import great_expectations as gx
from great_expectations.datasource.fluent.interfaces import TestConnectionError
from great_expectations.datasource.fluent.sql_datasource import SQLDatasource
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from sqlalchemy import event
from sqlalchemy.pool import Pool

from millrace.domain.errors import Fatal

DUCKDB = "duckdb:///"


class KeptConnectionEngine(SqlAlchemyExecutionEngine):  # type: ignore[misc]
    """Keeps one connection open: the plain engine closes it before it fetches from DuckDB."""

    _connection: Any

    @contextmanager
    def get_connection(self) -> Iterator[Any]:
        """The one connection."""
        if self._connection is None:
            self._connection = self.engine.connect()
        yield self._connection

    def end(self) -> None:
        """Give the connection back: a DuckDB file would stay locked."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.engine.dispose()


@contextmanager
def open_context(url: str, docs: Path | None, schema: str) -> Iterator[tuple[Any, Any]]:
    """A context that lives in memory, and a datasource that reads the warehouse at `url`.

    Raises:
        Fatal: it is not there, or can't be opened.
    """
    if (file := url.removeprefix(DUCKDB)) != url and not Path(file).exists():
        raise Fatal(f"no candidate {file}; run model again")
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    for site in context.get_site_names():
        context.delete_data_docs_site(site)
    if docs:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.absolute())}
        index = {"class_name": "DefaultSiteIndexBuilder"}
        context.add_data_docs_site(
            "quality", {"class_name": "SiteBuilder", "site_index_builder": index, "store_backend": store}
        )
    before, SQLDatasource.execution_engine_override = SQLDatasource.execution_engine_override, KeptConnectionEngine
    use = _use(schema)
    if url.startswith(DUCKDB) and schema:  # some of its queries leave out the schema
        event.listen(Pool, "connect", use)
    datasource = None
    try:
        address, arguments = _connection(url)
        datasource = context.data_sources.add_sql("warehouse", connection_string=address, kwargs=arguments)
        yield context, datasource
    except TestConnectionError as error:
        raise Fatal(f"{url} can't be opened: {error}") from None
    finally:
        if event.contains(Pool, "connect", use):
            event.remove(Pool, "connect", use)
        if datasource is not None:
            datasource.get_execution_engine().end()
            datasource.get_engine().dispose()
        SQLDatasource.execution_engine_override = before


def _connection(url: str) -> tuple[str, dict[str, Any]]:
    """SQLAlchemy's URL and arguments; the gate only reads, and `?endpoint=` names a server other than Google's."""
    if url.startswith(DUCKDB):
        return url, {"connect_args": {"read_only": True}}
    parts = urlsplit(url)
    endpoint = parse_qs(parts.query).get("endpoint", [""])[0]
    if not endpoint:
        return url, {}
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    client = bigquery.Client(
        parts.netloc,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": endpoint},
        default_query_job_config=bigquery.QueryJobConfig(default_dataset=f"{parts.netloc}.{parts.path[1:]}"),
    )
    return f"bigquery://{parts.netloc}{parts.path}?user_supplied_client=True", {"connect_args": {"client": client}}


def _use(schema: str) -> Callable[[Any, object], None]:
    def use(connection: Any, _: object) -> None:
        connection.cursor().execute(f"USE {schema}")

    return use
