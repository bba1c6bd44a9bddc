"""Checks that two peers ended with the same table: all rows, all columns."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from bench.merge.table import COLUMNS

TYPED = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in COLUMNS.items())
SAMPLE = 3


class TablesDiffer(Exception):
    """Two peers did not end in the same table; the message shows rows."""


@dataclass(frozen=True)
class Table:
    """A table in a DuckDB file."""

    database: Path
    relation: str


@dataclass(frozen=True)
class Digest:
    """Number of rows, and sum and parity of the 64-bit hashes of all rows, whatever their order."""

    rows: int
    total: int
    parity: int


def digest(table: Table) -> Digest:
    """Hash every row of a table, each value as the type that the table should have."""
    with _open() as db:
        _attach(db, "a", table)
        hashes = "SELECT hash(r) AS h FROM a r"
        row = db.execute(f"SELECT count(*), sum(h::HUGEINT), bit_xor(h) FROM ({hashes})").fetchone() or ()
    return Digest(*(int(value or 0) for value in row))


def require_equal(name: str, table: Table, other_name: str, other: Table) -> None:
    """Compare two tables.

    Raises:
        TablesDiffer: names both, and shows rows that one of them lacks.
    """
    actual, expected = digest(table), digest(other)
    if actual != expected:
        raise TablesDiffer(
            f"{name} ended with {actual.rows:,} rows, {other_name} with {expected.rows:,};"
            f" only in {name}: {_missing(table, other)}; only in {other_name}: {_missing(other, table)}"
        )


def require_rows(name: str, table: Table, expected: int) -> None:
    """Compare the number of rows with what follows from the workload. Raises TablesDiffer."""
    if (actual := digest(table).rows) != expected:
        raise TablesDiffer(f"{name} ended with {actual:,} rows; table and batch have {expected:,} keys")


def _missing(table: Table, other: Table) -> str:
    with _open() as db:
        _attach(db, "a", table)
        _attach(db, "b", other)
        rows = db.execute(f"FROM a EXCEPT ALL FROM b LIMIT {SAMPLE}").fetchall()
    return "; ".join(str(row) for row in rows) or "nothing"


def _open() -> duckdb.DuckDBPyConnection:
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    return db


def _attach(db: duckdb.DuckDBPyConnection, name: str, table: Table) -> None:
    db.execute(f"ATTACH '{table.database}' AS {name}_file (READ_ONLY)")
    db.execute(f"CREATE TEMP VIEW {name} AS SELECT {TYPED} FROM {name}_file.{table.relation}")
