"""How DuckDB stores a stream's text, chosen by the first rows that come: half the cost of an insert is compression."""

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.warehouse.duckdb import sql as sql

SAMPLE_ROWS, LEAST_ROWS, SELDOM_REPEATS = 20_000, 1_000, 0.5


def suit(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> None:
    """Make an empty table anew for the rows in the view `up`, whose text columns may have no use of a dictionary."""
    (empty,) = db.execute(f"SELECT NOT EXISTS (FROM {sql.table(contract)})").fetchone() or (False,)
    if not empty:
        return
    if packed := _seldom_repeat(db, contract):
        db.execute(f"DROP TABLE {sql.table(contract)}; {sql.create_table(contract, packed)}")


def _seldom_repeat(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> list[str]:
    """Text columns of `up` of which at least half of the values are different ones."""
    texts = [name for name, column in contract.columns.items() if sql.column_type(column.type) == "VARCHAR"]
    if not texts:
        return []
    shares = ", ".join(f"approx_count_distinct({sql.quote(n)}) / nullif(count({sql.quote(n)}), 0)" for n in texts)
    query = f"SELECT count(*), {shares} FROM (FROM up LIMIT {SAMPLE_ROWS})"  # noqa: S608
    rows, *found = db.execute(query).fetchone() or (0,)
    if rows < LEAST_ROWS:
        return []
    return [name for name, share in zip(texts, found, strict=True) if share is not None and share >= SELDOM_REPEATS]
