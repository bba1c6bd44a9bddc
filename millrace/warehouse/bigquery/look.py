"""What people ask of the BigQuery warehouse's past: where batches came from, what the gate found, what was billed."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any

from google.api_core import exceptions

from millrace.domain.ledger import SHOWN_FILES, MergedSync
from millrace.domain.quality import QualityRun
from millrace.warehouse.bigquery.jobs import Jobs

MOST_JOBS = 5_000  # of which bills are added up; beyond that no sum is better than a wrong one
MERGED_SYNCS = """
SELECT o.batch_id, o.job_id, COUNT(*), COALESCE(SUM(o.`rows`), 0),
  ARRAY_AGG(STRUCT(o.object AS object, o.generation AS generation, o.`rows` AS `rows`)
    ORDER BY o.object LIMIT {shown})
FROM {ledger_objects} o JOIN {ledger} l ON l.batch_id = o.batch_id AND l.kind = 'merged'
WHERE l.`at` >= @since GROUP BY o.batch_id, o.job_id ORDER BY o.batch_id, o.job_id
"""
QUALITY_RUNS = """
SELECT `at`, run_id, candidate, COUNTIF(success), COUNTIF(NOT success AND severity = 'stop'),
  COUNTIF(NOT success AND severity = 'quarantine'), COUNTIF(NOT success AND severity = 'warn')
FROM {quality} WHERE `at` >= @since GROUP BY `at`, run_id, candidate ORDER BY `at` DESC
"""


class Look:
    """Questions about the past of one place."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._place = jobs, jobs.place

    def merged_syncs(self, since: datetime) -> dict[str, list[MergedSync]]:
        """By batch that was merged from `since` on: of which syncs its files are."""
        tables = {name: self._place.ops(name) for name in ("ledger", "ledger_objects")}
        found: dict[str, list[MergedSync]] = {}
        for batch, job, files, rows, first in self._rows(MERGED_SYNCS.format(shown=SHOWN_FILES, **tables), since):
            one = {"job_id": job, "files": files, "rows": rows, "first": tuple(dict(file) for file in first)}
            found.setdefault(batch, []).append(MergedSync.model_validate(one))
        return found

    def quality_runs(self, since: datetime) -> list[QualityRun]:
        """What each run of the gate found from `since` on, newest first."""
        with self._jobs.answering("look for results of the gate"):
            try:
                self._jobs.client.get_table(self._place.id("ops", "quality"))
            except exceptions.NotFound:
                return []
        rows = self._rows(QUALITY_RUNS.format(quality=self._place.ops("quality")), since)
        return [QualityRun.model_validate(dict(zip(QualityRun.model_fields, row, strict=True))) for row in rows]

    def billed_bytes(self, since: datetime) -> dict[str, int] | None:
        """Bytes billed by stream, by the labels of the project's jobs; None when there are too many to add up.

        Raises:
            WarehouseRefused: who asks may not list the jobs of others (`bigquery.jobs.listAll`).
        """
        with self._jobs.answering("add up what was billed"):
            jobs = list(islice(self._jobs.client.list_jobs(all_users=True, min_creation_time=since), MOST_JOBS + 1))
        return None if len(jobs) > MOST_JOBS else billed(jobs)

    def _rows(self, sql: str, since: datetime) -> list[tuple[Any, ...]]:
        return self._jobs.rows(sql, {"since": since}, step="look")


def billed(jobs: Iterable[Any]) -> dict[str, int]:
    """Bytes by stream: jobs without a stream's labels are those of no single stream."""
    found: Counter[str] = Counter()
    for job in jobs:
        labels = job.labels or {}
        if "millrace_source" in labels and "millrace_stream" in labels:
            stream = f"{labels['millrace_source']}.{labels['millrace_stream']}"
            found[stream] += int(getattr(job, "total_bytes_billed", None) or 0)
    return dict(found)
