"""What people ask of the DuckDB warehouse's past: where batches came from, and what the gate found."""

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
    """By batch that was merged from `since` on: of which syncs its files are."""
    found: dict[str, list[MergedSync]] = {}
    for batch, job, files, rows, first in db.execute(MERGED_SYNCS, [since, SHOWN_FILES]).fetchall():
        one = MergedSync.model_validate({"job_id": job, "files": files, "rows": rows, "first": tuple(first)})
        found.setdefault(batch, []).append(one)
    return found


def quality_runs(db: duckdb.DuckDBPyConnection, since: datetime) -> list[QualityRun]:
    """What each run of the gate found from `since` on, newest first."""
    rows = db.execute(QUALITY_RUNS, [since]).fetchall()
    return [QualityRun.model_validate(dict(zip(QualityRun.model_fields, row, strict=True))) for row in rows]
