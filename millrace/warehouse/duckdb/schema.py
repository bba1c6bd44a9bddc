"""The tables of a stream in DuckDB: a contract in, created and widened tables out."""

from functools import cache

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.ledger import Head
from millrace.domain.types import Column
from millrace.warehouse import columns as shared
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.duckdb.catalog import columns, number

EXACT_INT = 1 << 53


def is_prepared(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> bool:
    """Return True if there is nothing to create or widen."""
    stored = _columns(db, contract)
    head = columns(db, "ops", names.head_table(contract.source, contract.stream))
    missing = set(sql.all_columns(contract)) - set(stored) or {*Head.model_fields, "newest"} - set(head)
    return not missing and not _missing(db) and not _to_widen(contract, stored)


def prepare(db: duckdb.DuckDBPyConnection, contract: StreamContract, *, migrating: bool = False) -> dict[str, str]:
    """Create table, view, head and ledger; add columns and widen types, in one transaction. Raises ContractError.

    Returns columns whose type has changed. Columns that the platform's own tables lack, because an older version
    created them, are added too.
    """
    db.execute("BEGIN")
    db.execute(sql.OPS)
    for table, name, kind in _missing(db):
        db.execute(f"ALTER TABLE ops.{sql.quote(table)} ADD COLUMN {sql.quote(name)} {kind}")
    db.execute(sql.create_table(contract))
    stored = _columns(db, contract)
    for name, kind in sql.all_columns(contract).items():
        if name not in stored:
            db.execute(f"ALTER TABLE {sql.table(contract)} ADD COLUMN {sql.quote(name)} {kind}")
    widened = _to_widen(contract, stored, migrating=migrating)
    for name, kind in widened.items():
        _check_exact(db, contract, name, kind)
        column = f"ALTER TABLE {sql.table(contract)} ALTER COLUMN {sql.quote(name)}"
        db.execute(f"{column} SET DATA TYPE {sql.column_type(kind)}")
    declared = sql.all_columns(contract)
    db.execute(sql.create_view(contract, [name for name in _columns(db, contract) if name not in declared]))
    db.execute("COMMIT")
    return widened


@cache
def _own_columns() -> dict[str, dict[str, str]]:
    """Return the columns of the platform's own tables as this version creates them."""
    with duckdb.connect() as db:
        db.execute(sql.OPS)
        tables = [table for (table,) in db.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {table: columns(db, "ops", table) for table in tables}


def _missing(db: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """Return table, name and type of columns that the platform's own tables lack."""
    existing = {table: columns(db, "ops", table) for table in _own_columns()}
    return [
        (table, name, kind)
        for table, columns_of in _own_columns().items()
        for name, kind in columns_of.items()
        if name not in existing[table]
    ]


def missing_columns(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> list[str] | None:
    """Return the columns of a contract that its table lacks; None when there is no table or head."""
    stored = _columns(db, contract)
    if not stored or not columns(db, "ops", names.head_table(contract.source, contract.stream)):
        return None
    return [name for name in sql.all_columns(contract) if name not in stored]


def evolved_columns(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> dict[str, Column]:
    """Return columns of the table that the contract lacks, or declares with a narrower type."""
    return shared.evolved_columns(contract, _contract_types(_columns(db, contract)))


def _to_widen(contract: StreamContract, stored: dict[str, str], *, migrating: bool = False) -> dict[str, str]:
    return shared.to_widen(contract, _contract_types(stored), migrating=migrating)


def _contract_types(stored: dict[str, str]) -> dict[str, str]:
    return {name: sql.contract_type(kind) for name, kind in stored.items()}


def _check_exact(db: duckdb.DuckDBPyConnection, contract: StreamContract, name: str, kind: str) -> None:
    if kind != "float64":
        return
    query = f"SELECT count(*) FROM {sql.table(contract)} WHERE abs({sql.quote(name)}::HUGEINT) > {EXACT_INT}"  # noqa: S608
    shared.check_exact(contract, name, number(db, query))


def _columns(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> dict[str, str]:
    return columns(db, names.raw_schema(contract.source), contract.stream)
