"""One SELECT on the merged tables and the ledger in, an Arrow table out; the caller holds the reader lock."""

from pathlib import Path

import duckdb
import pyarrow as pa

from millrace.domain.errors import SettingsError, WarehouseRefused
from millrace.warehouse.reader import ONLY_SELECT


def query(file: Path, sql: str) -> pa.Table:
    """Run one SELECT on a warehouse file.

    Raises:
        SettingsError: the file does not exist yet.
        WarehouseRefused: it is not one SELECT, or DuckDB rejected it.
    """
    if not file.exists():
        raise SettingsError(f"the warehouse {file} does not exist yet; the first merge creates it")
    try:
        with duckdb.connect(str(file), read_only=True) as db:
            statements = db.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise WarehouseRefused(ONLY_SELECT)
            db.execute("SET TimeZone = 'UTC'")
            db.execute("SET enable_external_access = false")  # a SELECT may call functions that read files
            return db.sql(sql).to_arrow_table()
    except duckdb.Error as error:
        raise WarehouseRefused(f"DuckDB rejected the query: {error}") from None
