"""The ledger in DuckDB: facts in; facts since an instant, and what is open, out.

Every search begins at an instant: before the settled one, every merge is published and announced.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.domain.ledger import CLOCKS_APART, EVER, LedgerEntry
from millrace.domain.model import Publication
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.duckdb.catalog import exists

DAY = timedelta(days=1)
WITHOUT = f"""
SELECT {sql.LEDGER_COLUMNS} FROM ops.ledger m
WHERE kind IN ('merged', 'erased') AND "at" >= $since AND NOT EXISTS (
  FROM ops.ledger d WHERE d.kind = $done AND d."at" >= $done_since AND d.batch_id = m.batch_id)
ORDER BY seq
"""  # noqa: S608
PUBLICATION = """
WITH facts AS (FROM ops.ledger WHERE kind IN ('published', 'modelled', 'announced') AND "at" >= $since),
newest AS (
  SELECT CASE kind WHEN 'published' THEN detail ELSE batch_id END AS candidate, run_id FROM facts
  WHERE (kind = 'published' AND detail != '') OR kind = 'modelled' ORDER BY seq DESC LIMIT 1)
SELECT n.candidate, n.run_id, count(*) FILTER (f.kind = 'published' AND f.detail = n.candidate),
  min(f."at") FILTER (f.kind != 'announced' AND n.candidate IN (f.detail, f.batch_id))
FROM newest n CROSS JOIN facts f GROUP BY n.candidate, n.run_id
HAVING count(*) FILTER (f.kind = 'announced' AND f.batch_id = n.candidate) = 0
"""
MODEL = f"""
SELECT {sql.LEDGER_COLUMNS} FROM ops.ledger WHERE kind = 'modelled' AND "at" >= $1 ORDER BY seq DESC LIMIT 1
"""  # noqa: S608
STREAMS = """
SELECT DISTINCT source || '.' || stream AS id FROM ops.ledger
WHERE kind IN ('merged', 'erased') AND (merged > 0 OR tombstoned_by_absence > 0) ORDER BY id
"""
NEWEST_MERGES = """
SELECT source || '.' || stream, max("at") FROM ops.ledger WHERE kind = 'merged' AND "at" >= $1 GROUP BY ALL
"""
COUNT_MERGES = """
SELECT count(*) FROM ops.ledger WHERE kind = 'merged' AND source = $1 AND stream = $2 AND "at" >= $3
"""
KNOWN = """
SELECT kind, batch_id, run_id FROM ops.ledger SEMI JOIN (SELECT unnest($1::VARCHAR[]) AS batch_id) USING (batch_id)
WHERE "at" >= $2
"""


def append(db: duckdb.DuckDBPyConnection, *entries: LedgerEntry) -> None:
    """Append facts in their order, without those that the ledger has: the same kind, batch and run."""
    if not entries:
        return
    since = min(entry.at for entry in entries) - CLOCKS_APART
    earlier = {tuple(row) for row in db.execute(KNOWN, [[e.batch_id for e in entries], since]).fetchall()}
    new = {key: e for e in entries if (key := (e.kind, e.batch_id, e.run_id)) not in earlier}
    if new:
        marks = ", ".join(f"unnest(${number})" for number in range(1, len(sql.LEDGER_FIELDS) + 1))
        columns = [[getattr(entry, name) for entry in new.values()] for name in sql.LEDGER_FIELDS]
        db.execute(f"INSERT INTO ops.ledger ({sql.LEDGER_COLUMNS}) SELECT {marks}", columns)


def entries(db: duckdb.DuckDBPyConnection, since: datetime, kinds: Sequence[str], until: datetime) -> list[LedgerEntry]:
    """Return facts from `since` on and before `until`, in the order of their writing."""
    query = f'SELECT {sql.LEDGER_COLUMNS} FROM ops.ledger WHERE "at" >= $1 AND "at" < $3'  # noqa: S608
    query += " AND (len($2) = 0 OR list_contains($2, kind)) ORDER BY seq"
    return _facts(db.execute(query, [since, list(kinds), until]).fetchall())


def unpublished(db: duckdb.DuckDBPyConnection) -> list[LedgerEntry]:
    """Return the merges and erasures that no marts include, in the order of their writing."""
    return _without(db, "published")


def unannounced(db: duckdb.DuckDBPyConnection) -> list[LedgerEntry]:
    """Return the merges and erasures that were not announced, in the order of their writing."""
    return _without(db, "announced")


def _without(db: duckdb.DuckDBPyConnection, kind: str) -> list[LedgerEntry]:
    since = settled(db)
    values = {"since": since, "done": kind, "done_since": _before(since)}
    return _facts(db.execute(WITHOUT, values).fetchall())


def unannounced_publication(db: duckdb.DuckDBPyConnection) -> Publication | None:
    """Return the newest publication unless it was announced; older ones are not announced any more."""
    row = db.execute(PUBLICATION, {"since": settled(db)}).fetchone()
    return Publication.model_validate(dict(zip(Publication.model_fields, row, strict=True))) if row else None


def newest_model(db: duckdb.DuckDBPyConnection) -> LedgerEntry | None:
    """Return the `modelled` fact of the newest publication."""
    return next(iter(_facts(db.execute(MODEL, [settled(db)]).fetchall())), None)


def changed_streams(db: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the streams of which rows were ever merged or erased."""
    return [str(stream) for (stream,) in db.execute(STREAMS).fetchall()]


def newest_merges(db: duckdb.DuckDBPyConnection, since: datetime) -> dict[str, datetime]:
    """Return the time of the newest merge of each stream that was merged from `since` on."""
    return dict(db.execute(NEWEST_MERGES, [since]).fetchall())


def count_merges(db: duckdb.DuckDBPyConnection, contract: StreamContract, since: datetime) -> int:
    """Return the number of merges of a stream from `since` on."""
    row = db.execute(COUNT_MERGES, [contract.source, contract.stream, since]).fetchone()
    return int(row[0]) if row else 0


def erased(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> set[str]:
    """Return the ids of a stream's erasures that were executed."""
    table = "ops.erased" if exists(db, "ops", "erased") else "ops.ledger"  # of an older version of the platform
    kind = "" if table == "ops.erased" else "kind = 'erased' AND "
    query = f"SELECT batch_id FROM {table} WHERE {kind}source = ? AND stream = ?"  # noqa: S608
    return {str(row[0]) for row in db.execute(query, [contract.source, contract.stream]).fetchall()}


def settled(db: duckdb.DuckDBPyConnection) -> datetime:
    """Return the instant before which every merge is published and announced."""
    if not exists(db, "ops", "settled"):
        return EVER
    row = db.execute("SELECT before FROM ops.settled ORDER BY seq DESC LIMIT 1").fetchone()
    return row[0] if row else EVER


def settle(db: duckdb.DuckDBPyConnection, before: datetime) -> None:
    """Store the instant before which every merge is published and announced, if it moved by a day or more."""
    db.execute("BEGIN")
    db.execute(sql.OPS)
    if abs(before - settled(db)) >= DAY:
        db.execute("INSERT INTO ops.settled (before) VALUES (?)", [before])
    db.execute("COMMIT")


def _before(since: datetime) -> datetime:
    """Return an instant earlier than `since` by the difference of two clocks."""
    return since - CLOCKS_APART if since > EVER else EVER


def _facts(rows: Iterable[Sequence[object]]) -> list[LedgerEntry]:
    return [LedgerEntry.model_validate(dict(zip(sql.LEDGER_FIELDS, row, strict=True))) for row in rows]
