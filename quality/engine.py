"""Opens Great Expectations over a warehouse, and closes it. Importing this imports Great Expectations: do it on use."""

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

from contracts.errors import Fatal

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
        datasource = context.data_sources.add_sql("warehouse", connection_string=url, kwargs=_arguments(url))
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


def _arguments(url: str) -> dict[str, Any]:
    """What the connection needs besides the URL; the gate only reads."""
    return {"connect_args": {"read_only": True}} if url.startswith(DUCKDB) else {}


def _use(schema: str) -> Callable[[Any, object], None]:
    def use(connection: Any, _: object) -> None:
        connection.cursor().execute(f"USE {schema}")

    return use
