"""Quarantined objects in DuckDB: a stream in, its quarantined objects out; and redrives of them."""

from collections.abc import Sequence
from datetime import datetime

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.domain.batch import QuarantinedObject
from millrace.domain.ledger import redriven_entry
from millrace.warehouse.duckdb.catalog import number
from millrace.warehouse.duckdb.commit import merged_objects
from millrace.warehouse.duckdb.ledger import append

QUARANTINED = """
WITH merges AS (
  SELECT o.source, o.stream, o.object, o.generation, count(*) AS attempts, arg_max(o.batch_id, l.seq) AS batch_id
  FROM ops.ledger_objects o JOIN ops.ledger l ON l.batch_id = o.batch_id AND l.kind = 'merged'
  WHERE o.object IN (SELECT object FROM ops.quarantine) AND ($1 IS NULL OR (o.source = $1 AND o.stream = $2))
  GROUP BY ALL),
again AS (SELECT source, stream, object, generation, count(*) AS n FROM ops.redrives GROUP BY ALL)
SELECT source, stream, object, generation, sum(q.rows) AS rows, any_value(m.attempts) AS attempts,
  string_agg(DISTINCT q.reason, ', ' ORDER BY q.reason) AS reasons,
  coalesce(arg_min(q.detail, coalesce(q."row", -1)), '') AS detail
FROM ops.quarantine q JOIN merges m USING (source, stream, object, generation, batch_id)
LEFT JOIN again a USING (source, stream, object, generation)
WHERE m.attempts > coalesce(a.n, 0) AND NOT EXISTS (
  FROM merges n WHERE n.source = q.source AND n.stream = q.stream AND n.object = q.object
  AND n.generation > q.generation)
GROUP BY source, stream, object, generation ORDER BY source, stream, object, generation
"""
REDRIVEN = """
SELECT DISTINCT manifest FROM ops.redrives r WHERE source = $1 AND stream = $2 AND attempt >= (
  SELECT count(*) FROM ops.ledger_objects o
  WHERE o.source = $1 AND o.stream = $2 AND o.object = r.object AND o.generation = r.generation)
"""
ROWS = """
SELECT coalesce(max(rows), 0) FROM ops.ledger_objects
WHERE source = $1 AND stream = $2 AND object = $3 AND generation = $4
"""
ADMIT = """
INSERT INTO ops.redrives (source, stream, object, generation, attempt, manifest, run_id, "at") SELECT $1, $2, $3, $4,
  (SELECT count(*) FROM ops.ledger_objects WHERE source = $1 AND stream = $2 AND object = $3 AND generation = $4),
  $5, $6, $7
"""


def quarantined_objects(
    db: duckdb.DuckDBPyConnection, contract: StreamContract | None = None
) -> dict[str, list[QuarantinedObject]]:
    """Return quarantined objects that neither wait for a redrive nor were fixed since, by stream."""
    stream_of = (contract.source, contract.stream) if contract else (None, None)
    rows = db.execute(QUARANTINED, stream_of).fetchall()
    objects: dict[str, list[QuarantinedObject]] = {}
    for source, stream, *row in rows:
        quarantined = QuarantinedObject.model_validate(dict(zip(QuarantinedObject.model_fields, row, strict=True)))
        objects.setdefault(f"{source}.{stream}", []).append(quarantined)
    return objects


def redriven_manifests(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> set[str]:
    """Return manifests of objects that wait to be merged once more."""
    return {str(row[0]) for row in db.execute(REDRIVEN, [contract.source, contract.stream]).fetchall()}


def redrive(
    db: duckdb.DuckDBPyConnection,
    contract: StreamContract,
    objects: Sequence[tuple[str, str, int]],
    run_id: str,
    at: datetime,
) -> int:
    """Let (manifest, object, generation) be merged once more, in one transaction; return how many did not wait."""
    db.execute("BEGIN")
    objects_of = quarantined_objects(db, contract).get(contract.id, [])
    quarantined = {(o.object, o.generation): o.rows for o in objects_of}
    merged = merged_objects(db, contract, [o[1:] for o in objects])
    admitted = [o for o in objects if o[1:] in merged]
    for manifest, name, generation in admitted:
        db.execute(ADMIT, [contract.source, contract.stream, name, generation, manifest, run_id, at])
        rows = number(db, ROWS, [contract.source, contract.stream, name, generation])
        counts = (rows, quarantined.get((name, generation), 0))
        stream = (contract.source, contract.stream)
        append(db, redriven_entry(stream, (manifest, name, generation), counts, run_id, at))
    db.execute("COMMIT")
    return len(admitted)
