"""Unchanged values in DuckDB: staged upserts that lack values in, rows with the newest value of each column out.

Each column of a key is a register: the newest upsert that has a value of it. As a register keeps the maximum of the
versions that it saw, the result does not depend on the order of batches. A stream that has no unchanged values pays for
one look at the catalog.
"""

from dataclasses import dataclass, field

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Staged
from millrace.warehouse.duckdb import unchanged_sql as own
from millrace.warehouse.duckdb.catalog import exists, number


@dataclass(frozen=True)
class Unchanged:
    """Columns to look up, with the version of their staged values as SQL; none if neither batch nor table lacks values.

    `combined` says that all upserts of the batch were staged, of which `superseded` are not the newest of their keys.
    """

    columns: dict[str, str] = field(default_factory=dict)
    combined: bool = False
    superseded: int = 0
    floor: str = ""


def is_tracked(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> bool:
    """Return whether some batch of the stream had unchanged values; call it outside a transaction, which it may end."""
    return bool(contract.key) and exists(db, "ops", names.unchanged_table(contract.source, contract.stream))


def combine(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, staged: Staged, floors: tuple[str, str], tracked: bool
) -> Unchanged:
    """Create the view `staged` of one upsert per key, if keys have several; return what the merge has to look up.

    Args:
        db: a connection with an open transaction, and the view `every` if all upserts were staged.
        contract: the stream.
        staged: the staged rows.
        floors: the floor of the head before the batch, and after it.
        tracked: whether the table of unchanged values exists.
    """
    marks, (before, floor) = contract.placeholders, floors
    lacking = {name: marks[name] for name in staged.unchanged if name in marks}
    superseded = 0
    if staged.every_upsert:
        db.execute(own.create(contract) + own.combine(contract, lacking, floor))
        superseded = number(db, own.count_superseded())
    columns = {name: f"s._millrace_{place}" for place, name in enumerate(lacking)}
    entered = _entered(db, contract) if tracked else []
    if entered and floor > before:
        db.execute(own.forget_replaced(contract, entered, floor))
    columns |= {name: own.WHOLE for name in entered if name not in columns}
    return Unchanged(columns, staged.every_upsert, superseded, floor)


def _entered(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> list[str]:
    """Return the columns of which rows of the table lack values."""
    rows = db.execute(own.entered_columns(contract)).fetchall()
    return [str(name) for (name,) in rows if name in contract.placeholders]


def look_up(db: duckdb.DuckDBPyConnection, contract: StreamContract, unchanged: Unchanged, where: str) -> int:
    """Look for the values that staged upserts and rows lack; return how many late upserts have one for their row."""
    if not unchanged.columns:
        return 0
    db.execute(own.look_up(contract, unchanged.columns, where, unchanged.floor))
    if unchanged.combined:
        db.execute(own.complete(contract, unchanged.columns))
    return number(db, own.count_fills())


def keep_track(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, unchanged: Unchanged, batch_id: str, where: str
) -> None:
    """Fill rows of the table with values of late upserts, and remember which rows still lack values of their own."""
    if unchanged.columns:
        db.execute(own.fill(contract, unchanged.columns, batch_id, where))
        db.execute(own.enter(contract, unchanged.columns))
