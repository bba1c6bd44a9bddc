"""One transaction of the DuckDB warehouse: head, merge, balance, ledger and quarantine; and what reads them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch, Staged
from millrace.domain.ledger import Head, LedgerEntry
from millrace.warehouse import heads
from millrace.warehouse.columns import prunes
from millrace.warehouse.duckdb import layout as layout
from millrace.warehouse.duckdb import merge_sql as merging
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.duckdb.staging import relation

BALANCE = tuple(Balance.model_fields)
KINDS = ("upserts", "deletes", "kept")


def commit(
    db: duckdb.DuckDBPyConnection,
    contract: StreamContract,
    batch: Batch,
    staged: Staged,
    files: Mapping[str, Sequence[str]],
    run_id: str,
    at: datetime,
) -> Balance:
    """Commit a staged batch, or give the balance it was committed with; raises HeadMoved and BalanceError.

    `files`: the staged ones on this machine, by kind.
    """
    db.execute("BEGIN")
    try:
        if done := balance(db, batch.id):
            db.execute("ROLLBACK")
            return done
        floor = _advance_head(db, contract, batch, staged)
        _refuse_merged(db, contract, batch)
        bodies, gone, refused = (relation(db, f"{kind}_files", files[kind]) for kind in KINDS)
        db.execute(merging.stage(contract, bodies, gone, floor) + merging.keep(contract, refused))
        layout.suit(db, contract)
        made = _merge(db, contract, batch, staged, floor, at)
        append(
            db,
            LedgerEntry(
                kind="merged",
                batch_id=batch.id,
                source=batch.source,
                stream=batch.stream,
                run_id=run_id,
                at=at,
                **made.model_dump(),
            ),
        )
        _append_objects(db, batch)
        _append_quarantine(db, contract, batch, staged, at)
        db.execute("COMMIT")
    except BaseException:
        _rollback(db)
        raise
    return made


def _merge(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, batch: Batch, staged: Staged, floor: str, at: datetime
) -> Balance:
    again = any(merges for merges, _ in _merges(db, contract, [(o.name, o.generation) for o in batch.objects]).values())
    stale = number(db, merging.count_replaced(floor))
    where = _touched(db, contract)
    if contract.key:
        db.execute(merging.match_bodies(contract, where, _rises(db, contract)))
    stale += number(db, merging.count_stale(contract, again))
    if contract.key:
        joined = number(db, merging.count_joined()) > 0
        db.execute(merging.merge_bodies(contract, batch.id, where, joined))
    else:
        db.execute(merging.append(contract, batch.id, again))
    if staged.deletes:
        db.execute(merging.match_deletes(contract, where))
        stale += number(db, merging.count_stale_deletes())
        db.execute(merging.merge_deletes(contract, batch.id, where))
    merged = number(db, merging.count_merged(contract, batch.id, where))
    replaces = staged.floor and staged.floor == floor
    absent = db.execute(merging.bury_absent(contract, batch.id, floor), [at]).fetchone() if replaces else None
    made = Balance(
        rows_in=staged.rows_in,
        merged=merged,
        superseded=staged.superseded,
        stale=stale,
        quarantined=sum(q.rows for q in staged.quarantined),
        tombstoned_by_absence=absent[0] if absent else 0,
    )
    made.check(batch.id)
    return made


def _rises(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> bool:
    """Whether each staged body is newer than every one of the table; keeps the newest of all for the next batch."""
    low, high = db.execute(merging.versions()).fetchone() or (None, None)
    if low is None:
        return True
    (known,) = db.execute(sql.newest(contract)).fetchone() or (None,)
    if known is None:
        (known,) = db.execute(merging.table_version(contract)).fetchone() or (None,)
    newest = known or b""
    db.execute(sql.set_newest(contract), [max(high, newest)])
    return bool(low > newest)


def _touched(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> str:
    """Condition on the table's rows that a batch can touch."""
    if not prunes(contract):
        return "true"
    count, values, low, high = db.execute(merging.touched(contract)).fetchone() or (0, [], "", "")
    return merging.within(contract, count, values, low, high) if count else "true"


def _rollback(db: duckdb.DuckDBPyConnection) -> None:
    try:
        db.execute("ROLLBACK")
    except duckdb.Error:
        return  # the transaction had ended; what is in the file decides


def _advance_head(db: duckdb.DuckDBPyConnection, contract: StreamContract, batch: Batch, staged: Staged) -> str:
    """Move the head from the epoch that the batch was opened at; no two batches can. Returns its floor."""
    seen = head(db, contract)
    new = heads.advanced(seen, batch, staged)
    given = [batch.id, new.connection_epoch, new.oldest_pending_day, new.floor, batch.head_epoch]
    changed = db.execute(sql.advance_head(contract), given).fetchone()
    if not changed or changed[0] != 1:
        raise heads.moved(batch, seen)
    return new.floor


def _refuse_merged(db: duckdb.DuckDBPyConnection, contract: StreamContract, batch: Batch) -> None:
    """No object is merged twice, whatever the head says."""
    again = merged_objects(db, contract, [(o.name, o.generation) for o in batch.objects])
    if again:
        raise heads.merged_already(batch, again)


def append(db: duckdb.DuckDBPyConnection, entry: LedgerEntry) -> None:
    """Add one fact to the ledger, unless it is there."""
    marks = ", ".join("?" for _ in sql.LEDGER_FIELDS)
    db.execute(
        f"INSERT INTO ops.ledger ({sql.LEDGER_COLUMNS}) SELECT {marks} WHERE NOT EXISTS"  # noqa: S608
        " (SELECT 1 FROM ops.ledger WHERE kind = ? AND batch_id = ? AND run_id = ?)",
        [*entry.model_dump().values(), entry.kind, entry.batch_id, entry.run_id],
    )


def _append_objects(db: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    objects = batch.objects
    db.execute(
        """INSERT INTO ops.ledger_objects (batch_id, source, stream, object, generation, job_id, "rows")
        SELECT $1, $2, $3, unnest($4::VARCHAR[]), unnest($5::BIGINT[]),
        unnest($6::BIGINT[]), unnest($7::BIGINT[])""",
        [
            batch.id,
            batch.source,
            batch.stream,
            [o.name for o in objects],
            [o.generation for o in objects],
            [o.job_id for o in objects],
            [o.rows for o in objects],
        ],
    )


def _append_quarantine(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, batch: Batch, staged: Staged, at: datetime
) -> None:
    refused = staged.quarantined
    if not refused:
        return
    attempts = _merges(db, contract, [(q.object, q.generation) for q in refused])
    db.execute(
        """INSERT INTO ops.quarantine (batch_id, source, stream, reason, object, generation, "row", "rows", detail,
        attempts, "at") SELECT $1, $2, $3, unnest($4::VARCHAR[]), unnest($5::VARCHAR[]),
        unnest($6::BIGINT[]), unnest($7::BIGINT[]), unnest($8::BIGINT[]), unnest($9::VARCHAR[]), unnest($10::BIGINT[]),
        $11""",
        [
            batch.id,
            batch.source,
            batch.stream,
            [q.reason for q in refused],
            [q.object for q in refused],
            [q.generation for q in refused],
            [q.row for q in refused],
            [q.rows for q in refused],
            [q.detail for q in refused],
            [attempts[q.object, q.generation][0] for q in refused],
            at,
        ],
    )


def head(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> Head:
    """How far a stream is."""
    fields = tuple(Head.model_fields)
    row = db.execute(f"SELECT {', '.join(fields)} FROM {sql.head_table(contract)}").fetchone()  # noqa: S608
    return Head.model_validate(dict(zip(fields, row, strict=True))) if row else Head()


def merged_objects(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, asked: list[tuple[str, int]]
) -> set[tuple[str, int]]:
    """Those of the (object, generation) pairs that the ledger has more often than they were let in again."""
    return {pair for pair, (merges, redrives) in _merges(db, contract, asked).items() if merges > redrives}


def _merges(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, asked: list[tuple[str, int]]
) -> dict[tuple[str, int], tuple[int, int]]:
    """How often each (object, generation) was merged, and how often it was let in again; only those ever merged."""
    rows = db.execute(
        """WITH asked AS (SELECT DISTINCT unnest($1::VARCHAR[]) AS object, unnest($2::BIGINT[]) AS generation),
        merges AS (SELECT object, generation, count(*) AS n FROM ops.ledger_objects SEMI JOIN asked
          USING (object, generation) WHERE source = $3 AND stream = $4 GROUP BY ALL),
        again AS (SELECT object, generation, count(*) AS n FROM ops.redrives
          WHERE source = $3 AND stream = $4 GROUP BY ALL)
        SELECT m.object, m.generation, m.n, coalesce(a.n, 0) FROM merges m LEFT JOIN again a
          USING (object, generation)""",
        [[a[0] for a in asked], [a[1] for a in asked], contract.source, contract.stream],
    ).fetchall()
    return {(str(name), int(generation)): (int(merges), int(again)) for name, generation, merges, again in rows}


def balance(db: duckdb.DuckDBPyConnection, batch_id: str) -> Balance | None:
    """The balance of a committed batch, None when it was not committed."""
    row = db.execute(
        f"SELECT {', '.join(BALANCE)} FROM ops.ledger WHERE kind = 'merged' AND batch_id = ?",  # noqa: S608
        [batch_id],
    ).fetchone()
    return Balance.model_validate(dict(zip(BALANCE, row, strict=True))) if row else None


def columns(db: duckdb.DuckDBPyConnection, schema: str, table: str) -> dict[str, str]:
    """Columns of a table with their types; none when there is no table."""
    qualified = f"{sql.quote(schema)}.{sql.quote(table)}"
    try:
        return dict(db.execute("SELECT name, type FROM pragma_table_info(?)", [qualified]).fetchall())
    except duckdb.CatalogException:  # a third of what a look into DuckDB's catalog tables costs
        return {}


def exists(db: duckdb.DuckDBPyConnection, schema: str, table: str) -> bool:
    """Whether there is such a table."""
    return bool(columns(db, schema, table))


def number(db: duckdb.DuckDBPyConnection, query: str) -> int:
    """The one number that a query gives."""
    row = db.execute(query).fetchone()
    return int(row[0]) if row else 0
