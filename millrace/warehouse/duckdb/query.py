"""One SELECT on marts, merged tables and ledger in, an Arrow table out; the caller holds the reader lock."""

import re
from pathlib import Path

import duckdb
import pyarrow as pa

from millrace.domain.errors import SettingsError, WarehouseRefused
from millrace.warehouse.duckdb.sql import text
from millrace.warehouse.reader import ONLY_SELECT, SCHEMA

WAREHOUSE, MARTS = "merged", "published"
MERGED = re.compile(r"""(?<![\w.])"?(?:ops|raw_\w+)"?\s*\.""", re.IGNORECASE)
PUBLISHED = re.compile(r"""(?<![\w.])"?marts"?\s*\.""", re.IGNORECASE)


def reads_merged(sql: str) -> bool:
    """Return True if a query names a table of the warehouse's file, which writers must not change meanwhile.

    Raises:
        WarehouseRefused: it is not one SELECT.
    """
    _check_select(sql)
    return MERGED.search(sql) is not None


def query(warehouse: Path, marts: Path, sql: str, limit: int | None = None) -> pa.Table:
    """Run one SELECT, and return its rows, or the first `limit` of them.

    Raises:
        SettingsError: the file that it reads does not exist yet.
        WarehouseRefused: it is not one SELECT, or DuckDB rejected it.
    """
    merged = reads_merged(sql)
    if merged and not warehouse.exists():
        raise SettingsError(f"the warehouse {warehouse} does not exist yet; the first merge creates it")
    if PUBLISHED.search(sql) and not marts.exists():
        raise SettingsError(f"nothing is published at {marts} yet; the first run of the flow model does")
    try:
        with duckdb.connect() as db:
            _attach(db, warehouse if merged else None, marts)
            db.execute("SET TimeZone = 'UTC'")
            db.execute("SET enable_external_access = false")  # a SELECT may call functions that read files
            rows = db.sql(sql)
            return (rows if limit is None else rows.limit(limit)).to_arrow_table()
    except duckdb.Error as error:
        raise refusal(error) from None


def _check_select(sql: str) -> None:
    try:
        with duckdb.connect() as db:
            statements = db.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise WarehouseRefused(ONLY_SELECT)
    except duckdb.Error as error:
        raise refusal(error) from None


def refusal(error: duckdb.Error) -> WarehouseRefused:
    """Return DuckDB's error as ours, without the picture of the query that its message ends with."""
    message = " ".join(str(error).partition("\nLINE ")[0].split())
    return WarehouseRefused(f"DuckDB rejected the query: {message}")


def _attach(db: duckdb.DuckDBPyConnection, warehouse: Path | None, marts: Path) -> None:
    """Attach the files that exist, so that a name's schema finds its file."""
    paths = []
    for name, file, schemas in ((WAREHOUSE, warehouse, ("main",)), (MARTS, marts, (SCHEMA.rstrip("."),))):
        if file and file.exists():
            db.execute(f"ATTACH {text(str(file))} AS {name} (READ_ONLY)")
            paths += [f"{name}.{schema}" for schema in schemas if _has(db, name, schema)]
    if paths:
        db.execute(f"SET search_path = {text(','.join(paths))}")


def _has(db: duckdb.DuckDBPyConnection, database: str, schema: str) -> bool:
    query = "SELECT 1 FROM duckdb_schemas() WHERE database_name = $1 AND schema_name = $2"
    return bool(db.execute(query, [database, schema]).fetchall())
