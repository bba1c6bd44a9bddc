"""Small questions to a DuckDB connection: a table or a query in, its columns or its only number out."""

from collections.abc import Sequence

import duckdb

from millrace.warehouse.duckdb import sql as sql


def columns(db: duckdb.DuckDBPyConnection, schema: str, table: str) -> dict[str, str]:
    """Return the columns of a table with their types; none when the table does not exist."""
    qualified = f"{sql.quote(schema)}.{sql.quote(table)}"
    try:
        return dict(db.execute("SELECT name, type FROM pragma_table_info(?)", [qualified]).fetchall())
    except duckdb.CatalogException:  # this costs a third of a query of DuckDB's catalog tables
        return {}


def exists(db: duckdb.DuckDBPyConnection, schema: str, table: str) -> bool:
    """Return True if the table exists."""
    return bool(columns(db, schema, table))


def number(db: duckdb.DuckDBPyConnection, query: str, values: Sequence[object] = ()) -> int:
    """Return the only number of a query's result."""
    row = db.execute(query, list(values)).fetchone()
    return int(row[0]) if row else 0
