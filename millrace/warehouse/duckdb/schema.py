"""The tables of a stream in DuckDB: made, and widened when contract or files bring more."""

from functools import cache

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.ledger import Head
from millrace.domain.types import Column
from millrace.warehouse import columns as shared
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.duckdb.commit import columns, number

EXACT_INT = 1 << 53


def is_prepared(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> bool:
    """Whether there is nothing to make or widen."""
    there = _columns(db, contract)
    head = columns(db, "ops", names.head_table(contract.source, contract.stream))
    missing = set(sql.all_columns(contract)) - set(there) or {*Head.model_fields, "newest"} - set(head)
    return not missing and not _missing(db) and not _to_widen(contract, there)


def prepare(db: duckdb.DuckDBPyConnection, contract: StreamContract, *, migrating: bool = False) -> dict[str, str]:
    """Make table, view, head and ledger; add columns and widen types, in one transaction. Raises ContractError.

    Returns columns that have another type now. What the platform's own tables lack, having been made by an older
    version, is added too.
    """
    db.execute("BEGIN")
    db.execute(sql.OPS)
    for table, name, kind in _missing(db):
        db.execute(f"ALTER TABLE ops.{sql.quote(table)} ADD COLUMN {sql.quote(name)} {kind}")
    db.execute(sql.create_table(contract))
    there = _columns(db, contract)
    for name, kind in sql.all_columns(contract).items():
        if name not in there:
            db.execute(f"ALTER TABLE {sql.table(contract)} ADD COLUMN {sql.quote(name)} {kind}")
    widened = _to_widen(contract, there, migrating=migrating)
    for name, kind in widened.items():
        _refuse_inexact(db, contract, name, kind)
        column = f"ALTER TABLE {sql.table(contract)} ALTER COLUMN {sql.quote(name)}"
        db.execute(f"{column} SET DATA TYPE {sql.column_type(kind)}")
    known = sql.all_columns(contract)
    db.execute(sql.create_view(contract, [name for name in _columns(db, contract) if name not in known]))
    db.execute("COMMIT")
    return widened


@cache
def _own_columns() -> dict[str, dict[str, str]]:
    """Columns of the platform's own tables as this version makes them."""
    with duckdb.connect() as db:
        db.execute(sql.OPS)
        tables = [table for (table,) in db.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {table: columns(db, "ops", table) for table in tables}


def _missing(db: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """Table, column and type of what the platform's own tables lack."""
    found = {table: columns(db, "ops", table) for table in _own_columns()}
    return [
        (table, name, kind)
        for table, wanted in _own_columns().items()
        for name, kind in wanted.items()
        if name not in found[table]
    ]


def learned(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> dict[str, Column]:
    """Columns that the table has and the contract lacks, or has with a narrower type."""
    return shared.learned(contract, _stored(_columns(db, contract)))


def _to_widen(contract: StreamContract, there: dict[str, str], *, migrating: bool = False) -> dict[str, str]:
    return shared.to_widen(contract, _stored(there), migrating=migrating)


def _stored(there: dict[str, str]) -> dict[str, str]:
    return {name: sql.contract_type(kind) for name, kind in there.items()}


def _refuse_inexact(db: duckdb.DuckDBPyConnection, contract: StreamContract, name: str, kind: str) -> None:
    if kind != "float64":
        return
    query = f"SELECT count(*) FROM {sql.table(contract)} WHERE abs({sql.quote(name)}::HUGEINT) > {EXACT_INT}"  # noqa: S608
    shared.refuse_inexact(contract, name, number(db, query))


def _columns(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> dict[str, str]:
    return columns(db, names.raw_schema(contract.source), contract.stream)
