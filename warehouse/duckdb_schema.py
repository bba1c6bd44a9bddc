"""The tables of a stream in DuckDB: made, and widened when contract or files bring more."""

import duckdb

from contracts import names
from contracts.ledger import Head
from contracts.stream import Column, StreamContract
from warehouse import columns as shared
from warehouse import duckdb_sql as sql
from warehouse.duckdb_commit import columns, exists, number

EXACT_INT = 1 << 53


def is_prepared(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> bool:
    """Whether there is nothing to make or widen."""
    there = _columns(db, contract)
    head = columns(db, "ops", names.head_table(contract.source, contract.stream))
    missing = set(sql.all_columns(contract)) - set(there) or set(Head.model_fields) - set(head)
    return not missing and exists(db, "ops", "redrives") and not _to_widen(contract, there)


def prepare(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> None:
    """Make table, view, head and ledger; add columns and widen types, in one transaction. Raises ContractError."""
    db.execute("BEGIN")
    db.execute(sql.OPS)
    db.execute(sql.create_table(contract))
    there = _columns(db, contract)
    for name, kind in sql.all_columns(contract).items():
        if name not in there:
            db.execute(f"ALTER TABLE {sql.table(contract)} ADD COLUMN {sql.quote(name)} {kind}")
    for name, kind in _to_widen(contract, there).items():
        _refuse_inexact(db, contract, name, kind)
        column = f"ALTER TABLE {sql.table(contract)} ALTER COLUMN {sql.quote(name)}"
        db.execute(f"{column} SET DATA TYPE {sql.column_type(kind)}")
    known = sql.all_columns(contract)
    db.execute(sql.create_view(contract, [name for name in _columns(db, contract) if name not in known]))
    db.execute("COMMIT")


def learned(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> dict[str, Column]:
    """Columns that the table has and the contract lacks, or has with a narrower type."""
    return shared.learned(contract, _stored(_columns(db, contract)))


def _to_widen(contract: StreamContract, there: dict[str, str]) -> dict[str, str]:
    return shared.to_widen(contract, _stored(there))


def _stored(there: dict[str, str]) -> dict[str, str]:
    return {name: sql.contract_type(kind) for name, kind in there.items()}


def _refuse_inexact(db: duckdb.DuckDBPyConnection, contract: StreamContract, name: str, kind: str) -> None:
    if kind != "float64":
        return
    query = f"SELECT count(*) FROM {sql.table(contract)} WHERE abs({sql.quote(name)}::HUGEINT) > {EXACT_INT}"  # noqa: S608
    shared.refuse_inexact(contract, name, number(db, query))


def _columns(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> dict[str, str]:
    return columns(db, names.raw_schema(contract.source), contract.stream)
