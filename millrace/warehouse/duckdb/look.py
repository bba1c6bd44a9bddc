"""The history of the DuckDB warehouse: an instant in, syncs of batches and results of the gate since then out."""

from datetime import datetime

import duckdb

from millrace.domain.ledger import SHOWN_FILES, MergedSync
from millrace.domain.quality import QualityRun

MERGED_SYNCS = """
SELECT o.batch_id, o.job_id, count(*), coalesce(sum(o.rows), 0)::BIGINT,
  list({'object': o.object, 'generation': o.generation, 'rows': o.rows} ORDER BY o.object)[1:$2]
FROM ops.ledger_objects o JOIN ops.ledger l ON l.batch_id = o.batch_id AND l.kind = 'merged'
WHERE l."at" >= $1 GROUP BY o.batch_id, o.job_id ORDER BY o.batch_id, o.job_id
"""
QUALITY_RUNS = """
SELECT "at", run_id, candidate, count(*) FILTER (success), count(*) FILTER (NOT success AND severity = 'stop'),
  count(*) FILTER (NOT success AND severity = 'quarantine'), count(*) FILTER (NOT success AND severity = 'warn')
FROM ops.quality WHERE "at" >= $1 GROUP BY ALL ORDER BY "at" DESC
"""


def merged_syncs(db: duckdb.DuckDBPyConnection, since: datetime) -> dict[str, list[MergedSync]]:
    """Return the syncs of each batch that was merged from `since` on."""
    syncs: dict[str, list[MergedSync]] = {}
    for batch, job, files, rows, first in db.execute(MERGED_SYNCS, [since, SHOWN_FILES]).fetchall():
        sync = MergedSync.model_validate({"job_id": job, "files": files, "rows": rows, "first": tuple(first)})
        syncs.setdefault(batch, []).append(sync)
    return syncs


def quality_runs(db: duckdb.DuckDBPyConnection, since: datetime) -> list[QualityRun]:
    """Return a summary of each run of the gate from `since` on, newest first."""
    rows = db.execute(QUALITY_RUNS, [since]).fetchall()
    return [QualityRun.model_validate(dict(zip(QualityRun.model_fields, row, strict=True))) for row in rows]
