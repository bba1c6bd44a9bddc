"""Erasure in DuckDB: keys in, their number of rows out; the rows are emptied and get the highest version."""

from datetime import datetime

import duckdb

from millrace.contracts.erasure import LAST_VERSION, Erasure, erased_entry
from millrace.contracts.stream import StreamContract
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.duckdb import unchanged_sql as lacking
from millrace.warehouse.duckdb.catalog import number
from millrace.warehouse.duckdb.ledger import append
from millrace.warehouse.duckdb.merge_sql import keys_equal
from millrace.warehouse.duckdb.unchanged import is_tracked

IS_DONE = "SELECT count(*) FROM ops.erased WHERE batch_id = ?"
DONE = "INSERT INTO ops.erased (batch_id, source, stream, merged) VALUES (?, ?, ?, ?)"


def erase(db: duckdb.DuckDBPyConnection, contract: StreamContract, erasure: Erasure, at: datetime) -> int:
    """Empty the rows of keys, in one transaction with the ledger; return how many keys had a row. Again: 0."""
    tracked = is_tracked(db, contract)
    db.execute("BEGIN")
    if (db.execute(IS_DONE, [erasure.id]).fetchone() or (0,))[0]:
        db.execute("ROLLBACK")
        return 0
    db.execute(_keys(contract), [[list(key) for key in erasure.keys]])
    rows = number(db, f"SELECT count(*) FROM {sql.table(contract)} t SEMI JOIN erased e ON {_same(contract)}")  # noqa: S608
    db.execute(f"DELETE FROM {sql.table(contract)} t USING erased e WHERE {_same(contract)}")  # noqa: S608
    if tracked:
        db.execute(lacking.erase(contract))
    db.execute(_empty_rows(contract), {"id": erasure.id, "at": at, "last": LAST_VERSION})
    db.execute(sql.set_newest(contract), [bytes.fromhex(LAST_VERSION)])
    append(db, erased_entry(erasure, rows, at))
    db.execute(DONE, [erasure.id, erasure.source, erasure.stream, rows])
    db.execute("COMMIT")
    return rows


def _same(contract: StreamContract) -> str:
    return keys_equal(contract, "t", "e")


def _keys(contract: StreamContract) -> str:
    """Return SQL of the temporary table `erased` of the keys, whose values are passed as text."""
    shown = ", ".join(
        f"{_value(contract.columns[name].type, f'k[{index}]')} AS {sql.quote(name)}"
        for index, name in enumerate(contract.key, 1)
    )
    return f"CREATE OR REPLACE TEMP TABLE erased AS SELECT {shown} FROM (SELECT unnest($1::VARCHAR[][]) AS k)"  # noqa: S608


def _value(declared: str, text: str) -> str:
    return f"from_hex({text})" if declared == "bytes" else f"CAST({text} AS {sql.column_type(declared)})"


def _empty_rows(contract: StreamContract) -> str:
    keys = ", ".join(sql.quote(name) for name in contract.key)
    registers = "_version, _delete_version, _deleted_at, _batch_id, _delete_batch_id"
    return (
        f"INSERT INTO {sql.table(contract)} ({keys}, {registers})"  # noqa: S608
        f" SELECT {keys}, from_hex($last), from_hex($last), $at, $id, $id FROM erased"
    )
