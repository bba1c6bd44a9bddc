"""Great Expectations on a warehouse: a URL in, a context and a datasource out, which are closed with the block.

Import this module on use, as it imports Great Expectations.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import great_expectations as gx
from great_expectations.datasource.fluent.interfaces import TestConnectionError
from great_expectations.datasource.fluent.sql_datasource import SQLDatasource
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from sqlalchemy import event
from sqlalchemy.pool import Pool

from millrace.domain.errors import DatabaseUnreadable
from millrace.warehouse.engines import gate_connection


class KeptConnectionEngine(SqlAlchemyExecutionEngine):  # type: ignore[misc]
    """An engine with one open connection: Great Expectations' own closes it before it fetches from DuckDB."""

    _connection: Any

    @contextmanager
    def get_connection(self) -> Iterator[Any]:
        """Yield the open connection; an error ends its transaction, in which nothing else could be read."""
        if self._connection is None:
            self._connection = self.engine.connect()
            _quote_keywords(self._connection)
        try:
            yield self._connection
        except Exception:
            self._connection.rollback()
            raise

    def end(self) -> None:
        """Close the connection, which would keep a DuckDB file locked."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.engine.dispose()


@contextmanager
def open_context(url: str, schema: str) -> Iterator[tuple[Any, Any]]:
    """Yield an in-memory context of Great Expectations, and a datasource that reads the warehouse at `url`.

    Not safe for two gates at a time in one process: within the block, an attribute of Great Expectations' class
    `SQLDatasource` is replaced, and all SQLAlchemy pools of the process run the connection's `on_connect`.

    Raises:
        SettingsError: no engine has the URL's scheme.
        CandidateMissing: the DuckDB file does not exist.
        DatabaseUnreadable: the warehouse can't be opened.
    """
    connection = gate_connection(url, schema)
    context = new_context()
    before, SQLDatasource.execution_engine_override = SQLDatasource.execution_engine_override, KeptConnectionEngine
    on_connect = _execute(connection.on_connect)
    if connection.on_connect:
        event.listen(Pool, "connect", on_connect)
    datasource = None
    try:
        arguments = {"connect_args": dict(connection.connect_args)} if connection.connect_args else {}
        datasource = context.data_sources.add_sql("warehouse", connection_string=connection.url, kwargs=arguments)
        yield context, datasource
    except TestConnectionError as error:
        raise DatabaseUnreadable(f"{url} can't be opened: {error}") from None
    finally:
        if event.contains(Pool, "connect", on_connect):
            event.remove(Pool, "connect", on_connect)
        if datasource is not None:
            datasource.get_execution_engine().end()
            datasource.get_engine().dispose()
        SQLDatasource.execution_engine_override = before


def new_context(docs: Path | None = None) -> Any:
    """Return an in-memory context of Great Expectations, which builds Data Docs into `docs` if any."""
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
    return context


def _quote_keywords(connection: Any) -> None:
    """Let queries quote each keyword of DuckDB; its dialect has those of PostgreSQL, which lack `at` and others."""
    if connection.dialect.name == "duckdb":
        keywords = connection.exec_driver_sql("SELECT keyword_name FROM duckdb_keywords()").scalars().all()
        connection.rollback()
        preparer = connection.dialect.identifier_preparer
        preparer.reserved_words = {*preparer.reserved_words, *keywords}


def _execute(statement: str) -> Callable[[Any, object], None]:
    def on_connect(connection: Any, _: object) -> None:
        connection.cursor().execute(statement)

    return on_connect
