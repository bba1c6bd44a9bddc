"""The compression of text columns in DuckDB, chosen from the first rows: it is half the cost of an insert."""

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.warehouse.duckdb import sql as sql

SAMPLE_ROWS, LEAST_ROWS, SELDOM_REPEATS = 20_000, 1_000, 0.5


def choose_compression(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> None:
    """Recreate an empty table for the rows in the view `up`: text whose values seldom repeat needs no dictionary."""
    (empty,) = db.execute(f"SELECT NOT EXISTS (FROM {sql.table(contract)})").fetchone() or (False,)
    if not empty:
        return
    if packed := _find_distinct_texts(db, contract):
        db.execute(f"DROP TABLE {sql.table(contract)}; {sql.create_table(contract, packed)}")


def _find_distinct_texts(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> list[str]:
    """Return text columns of `up` in which at least half of the values are distinct."""
    texts = [name for name, column in contract.columns.items() if sql.column_type(column.type) == "VARCHAR"]
    if not texts:
        return []
    counts = ", ".join(f"approx_count_distinct({sql.quote(n)}) / nullif(count({sql.quote(n)}), 0)" for n in texts)
    query = f"SELECT count(*), {counts} FROM (FROM up LIMIT {SAMPLE_ROWS})"  # noqa: S608
    rows, *shares = db.execute(query).fetchone() or (0,)
    if rows < LEAST_ROWS:
        return []
    return [name for name, share in zip(texts, shares, strict=True) if share is not None and share >= SELDOM_REPEATS]
