"""What readers of the marts do: a query in, a table out; the merged tables and candidates are never opened."""

from collections.abc import Callable

import pyarrow as pa

from millrace.domain.errors import SettingsError, WarehouseRefused

Read = Callable[[str], pa.Table]
SCHEMA = "marts."


def reader_of(url: str, marts_url: str, *, endpoint: str = "", max_bytes_billed: int = 0) -> Read:
    """A function that answers a query over `marts.<table>`; each call sees the marts as they are published then.

    Args:
        url: the warehouse, which says in which location BigQuery is.
        marts_url: `duckdb:///<file>` or `bigquery://<project>/<dataset>`.
        endpoint: address of a BigQuery other than Google's.
        max_bytes_billed: most bytes that one query may read on BigQuery; 0: no bound.

    Raises:
        SettingsError: the URL's scheme is not known, or nothing was published yet (by the function).
        WarehouseRefused: the engine refused the query (by the function).
    """
    if marts_url.startswith("duckdb:///"):
        from millrace.warehouse.duckdb.warehouse import file_of

        file = file_of(marts_url)
        return lambda sql: _duckdb(str(file), sql)
    if marts_url.startswith("bigquery://"):
        from millrace.warehouse.bigquery.jobs import Jobs
        from millrace.warehouse.bigquery.marts import dataset_of
        from millrace.warehouse.bigquery.sql import Place

        jobs = Jobs(Place.of(url), endpoint, max_bytes_billed)
        dataset = f"`{jobs.place.project}`.`{jobs.place.dataset(dataset_of(marts_url, jobs.place))}`."
        return lambda sql: jobs.table(sql.replace(SCHEMA, dataset), step="read")
    expected = "duckdb:///<file> or bigquery://<project>/<dataset>"
    raise SettingsError(f"warehouse.marts_url is {marts_url!r}; expected {expected}")


def _duckdb(file: str, sql: str) -> pa.Table:
    import duckdb

    try:
        with duckdb.connect(file, read_only=True) as db:
            return db.sql(sql).to_arrow_table()
    except duckdb.IOException as error:
        raise SettingsError(f"nothing is published at {file}, or it can't be read: {error}") from None
    except duckdb.Error as error:
        raise WarehouseRefused(f"DuckDB refused a query of the marts: {error}") from None
