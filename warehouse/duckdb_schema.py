"""The tables of a stream in DuckDB: made, and widened when contract or files bring more."""

import duckdb

from contracts import names
from contracts.errors import ContractError
from contracts.ledger import Head
from contracts.stream import Column, StreamContract
from contracts.widening import wider
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
    own = set(sql.REGISTERS) | set(sql.BODY) | set(contract.key) | set(contract.order)
    found = {}
    for name, stored in _columns(db, contract).items():
        kind, declared = sql.contract_type(stored), contract.columns.get(name)
        if name in own or (declared and wider(declared.type, kind) in (None, declared.type)):
            continue
        found[name] = declared.model_copy(update={"type": kind}) if declared else Column(type=kind)
    return found


def _to_widen(contract: StreamContract, there: dict[str, str]) -> dict[str, str]:
    """Columns of the contract whose type is wider than the table's. Raises ContractError when neither holds both."""
    found = {}
    for name, column in contract.columns.items():
        stored = sql.contract_type(there.get(name, sql.column_type(column.type)))
        both = column.type if column.any_type else wider(stored, column.type)
        if both is None or (name in (*contract.key, *contract.order) and both != stored):
            raise ContractError(
                f"{contract.id}: column {name} is {stored} in the table, the contract says {column.type}, and it"
                " can't be changed to hold both; put the old type back, or give the column another name"
            )
        if both != stored:
            found[name] = both
    return found


def _refuse_inexact(db: duckdb.DuckDBPyConnection, contract: StreamContract, name: str, kind: str) -> None:
    if kind != "float64":
        return
    query = f"SELECT count(*) FROM {sql.table(contract)} WHERE abs({sql.quote(name)}::HUGEINT) > {EXACT_INT}"  # noqa: S608
    if bent := number(db, query):
        raise ContractError(
            f"{contract.id}: column {name} can't become float64: {bent} rows hold integers beyond 2^53, which it"
            " would bend; declare it decimal(38,9), or refuse fractions with `type_changes: quarantine`"
        )


def _columns(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> dict[str, str]:
    return columns(db, names.raw_schema(contract.source), contract.stream)
