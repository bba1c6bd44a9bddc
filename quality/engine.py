"""Opens Great Expectations over a candidate, and closes it. Importing this imports Great Expectations: do it on use."""

import os
from collections.abc import Iterator
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
from quality.gate import MARTS_SCHEMA

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
def open_context(url: str, docs: Path | None) -> Iterator[tuple[Any, Any]]:
    """A context that lives in memory, and a datasource on the candidate.

    Raises:
        Fatal: there is no such candidate, or it can't be opened.
    """
    if (file := url.removeprefix(DUCKDB)) != url and not Path(file).exists():
        raise Fatal(f"no candidate {file}; run model again")  # DuckDB would make an empty file
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
    if url.startswith(DUCKDB):  # some of its queries leave out the schema
        event.listen(Pool, "connect", _use_marts)
    datasource = None
    try:
        datasource = context.data_sources.add_sql("candidate", connection_string=url)
        yield context, datasource
    except TestConnectionError as error:
        raise Fatal(f"candidate {url} can't be opened: {error}") from None
    finally:
        if event.contains(Pool, "connect", _use_marts):
            event.remove(Pool, "connect", _use_marts)
        if datasource is not None:
            datasource.get_execution_engine().end()
            datasource.get_engine().dispose()
        SQLDatasource.execution_engine_override = before


def _use_marts(connection: Any, _: object) -> None:
    connection.cursor().execute(f"USE {MARTS_SCHEMA}")
