"""The commit in DuckDB: a staged batch in, its balance out; head, table and ledger change in one transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch, Staged
from millrace.domain.ledger import CLOCKS_APART, Head, LedgerEntry
from millrace.warehouse import heads
from millrace.warehouse.columns import prunes
from millrace.warehouse.duckdb import layout as layout
from millrace.warehouse.duckdb import merge_sql as merging
from millrace.warehouse.duckdb import replace as replace
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.duckdb import unchanged as unchanged
from millrace.warehouse.duckdb.catalog import number
from millrace.warehouse.duckdb.ledger import append
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
    """Commit a staged batch, or return the balance of its earlier commit. Raises HeadMoved and BalanceError.

    `files` are local copies of the staging files, by kind.
    """
    tracked = bool(contract.placeholders) and unchanged.is_tracked(db, contract)
    db.execute("BEGIN")
    try:
        if earlier := balance(db, batch):
            db.execute("ROLLBACK")
            return earlier
        before, floor = _advance_head(db, contract, batch, staged, at)
        _check_unmerged(db, contract, batch)
        upserts, deletes = (relation(db, f"{kind}_files", files[kind]) for kind in ("upserts", "deletes"))
        db.execute(merging.stage(contract, upserts, deletes, every=staged.every_upsert))
        lacking = unchanged.combine(db, contract, staged, (before, floor), tracked)
        replacing = replace.prepare(db, contract, batch, staged, files["kept"], before, floor)
        layout.choose_compression(db, contract)
        merged = _merge(db, contract, batch, staged, replacing, lacking, at)
        append(
            db,
            LedgerEntry(
                kind="merged",
                batch_id=batch.id,
                source=batch.source,
                stream=batch.stream,
                run_id=run_id,
                at=at,
                **merged.model_dump(),
            ),
        )
        _append_objects(db, batch)
        _append_quarantine(db, contract, batch, staged, at)
        db.execute("COMMIT")
    except BaseException:
        _rollback(db)
        raise
    return merged


def _merge(
    db: duckdb.DuckDBPyConnection,
    contract: StreamContract,
    batch: Batch,
    staged: Staged,
    replacing: replace.Replacing,
    lacking: unchanged.Unchanged,
    at: datetime,
) -> Balance:
    counts = _count_merges(db, contract, [(o.name, o.generation) for o in batch.objects])
    again = any(merges for merges, _ in counts.values())
    stale = number(db, merging.count_replaced(replacing.condition))
    where = _bounds(db, contract)
    stale -= unchanged.look_up(db, contract, lacking, where)
    if contract.key:
        db.execute(merging.match_upserts(contract, where, _is_newer_than_table(db, contract)))
    stale += number(db, merging.count_stale(contract, again))
    if contract.key:
        joined = number(db, merging.count_joined()) > 0
        db.execute(merging.merge_upserts(contract, batch.id, where, joined))
    else:
        db.execute(merging.append(contract, batch.id, again))
    unchanged.keep_track(db, contract, lacking, batch.id, where)
    if staged.deletes:
        db.execute(merging.match_deletes(contract, where))
        stale += number(db, merging.count_stale_deletes())
        db.execute(merging.merge_deletes(contract, batch.id, where))
    merged = number(db, merging.count_merged(contract, batch.id, where))
    absent = replace.delete_replaced(db, contract, batch.id, replacing, at)
    result = Balance(
        rows_in=staged.rows_in,
        merged=merged,
        superseded=staged.superseded + lacking.superseded,
        stale=stale,
        quarantined=sum(q.rows for q in staged.quarantined),
        tombstoned_by_absence=absent,
    )
    result.check(batch.id)
    return result


def _is_newer_than_table(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> bool:
    """Return True if every staged upsert is newer than the whole table; store the newest version for the next batch."""
    low, high = db.execute(merging.versions()).fetchone() or (None, None)
    if low is None:
        return True
    (stored,) = db.execute(sql.newest(contract)).fetchone() or (None,)
    if stored is None:
        (stored,) = db.execute(merging.table_version(contract)).fetchone() or (None,)
    newest = stored or b""
    db.execute(sql.set_newest(contract), [max(high, newest)])
    return bool(low > newest)


def _bounds(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> str:
    """Return a condition that holds for all rows of the table that a batch can change."""
    if not prunes(contract):
        return "true"
    count, values, low, high = db.execute(merging.touched(contract)).fetchone() or (0, [], "", "")
    return merging.within(contract, count, values, low, high) if count else "true"


def _rollback(db: duckdb.DuckDBPyConnection) -> None:
    try:
        db.execute("ROLLBACK")
    except duckdb.Error:
        return  # the transaction had ended: the file decides


def _advance_head(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, batch: Batch, staged: Staged, at: datetime
) -> tuple[str, str]:
    """Move the head from the epoch at which the batch was opened, which only one batch can; return both floors."""
    before = head(db, contract)
    new = heads.next_head(before, batch, staged, at)
    values = [batch.id, new.connection_epoch, new.oldest_pending_day, new.floor, batch.head_epoch]
    changed = db.execute(sql.advance_head(contract), values).fetchone()
    if not changed or changed[0] != 1:
        raise heads.overtaken(batch, before)
    return before.floor, new.floor


def _check_unmerged(db: duckdb.DuckDBPyConnection, contract: StreamContract, batch: Batch) -> None:
    """Raise HeadMoved when an object of the batch is merged already, whatever the head says."""
    merged = merged_objects(db, contract, [(o.name, o.generation) for o in batch.objects])
    if merged:
        raise heads.already_merged(batch, merged)


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
    rows = staged.quarantined
    if not rows:
        return
    attempts = _count_merges(db, contract, [(q.object, q.generation) for q in rows])
    db.execute(
        """INSERT INTO ops.quarantine (batch_id, source, stream, reason, object, generation, "row", "rows", detail,
        attempts, "at") SELECT $1, $2, $3, unnest($4::VARCHAR[]), unnest($5::VARCHAR[]),
        unnest($6::BIGINT[]), unnest($7::BIGINT[]), unnest($8::BIGINT[]), unnest($9::VARCHAR[]), unnest($10::BIGINT[]),
        $11""",
        [
            batch.id,
            batch.source,
            batch.stream,
            [q.reason for q in rows],
            [q.object for q in rows],
            [q.generation for q in rows],
            [q.row for q in rows],
            [q.rows for q in rows],
            [q.detail for q in rows],
            [attempts[q.object, q.generation][0] for q in rows],
            at,
        ],
    )


def head(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> Head:
    """Return the head of a stream."""
    fields = tuple(Head.model_fields)
    row = db.execute(f"SELECT {', '.join(fields)} FROM {sql.head_table(contract)}").fetchone()  # noqa: S608
    return Head.model_validate(dict(zip(fields, row, strict=True))) if row else Head()


def merged_objects(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, objects: list[tuple[str, int]]
) -> set[tuple[str, int]]:
    """Return the (object, generation) pairs that were merged more often than they were redriven."""
    return {pair for pair, (merges, redrives) in _count_merges(db, contract, objects).items() if merges > redrives}


def _count_merges(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, objects: list[tuple[str, int]]
) -> dict[tuple[str, int], tuple[int, int]]:
    """Return how often each (object, generation) was merged and redriven, of those that were ever merged."""
    rows = db.execute(
        """WITH requested AS (SELECT DISTINCT unnest($1::VARCHAR[]) AS object, unnest($2::BIGINT[]) AS generation),
        merges AS (SELECT object, generation, count(*) AS n FROM ops.ledger_objects SEMI JOIN requested
          USING (object, generation) WHERE source = $3 AND stream = $4 GROUP BY ALL),
        again AS (SELECT object, generation, count(*) AS n FROM ops.redrives
          WHERE source = $3 AND stream = $4 GROUP BY ALL)
        SELECT m.object, m.generation, m.n, coalesce(a.n, 0) FROM merges m LEFT JOIN again a
          USING (object, generation)""",
        [[name for name, _ in objects], [generation for _, generation in objects], contract.source, contract.stream],
    ).fetchall()
    return {(str(name), int(generation)): (int(merges), int(again)) for name, generation, merges, again in rows}


def balance(db: duckdb.DuckDBPyConnection, batch: Batch) -> Balance | None:
    """Return the balance of a committed batch, None when it was not committed."""
    row = db.execute(
        f"SELECT {', '.join(BALANCE)} FROM ops.ledger"  # noqa: S608
        " WHERE kind = 'merged' AND batch_id = ? AND \"at\" >= ?",
        [batch.id, batch.opened_at - CLOCKS_APART],
    ).fetchone()
    return Balance.model_validate(dict(zip(BALANCE, row, strict=True))) if row else None
