"""The history of the BigQuery warehouse: an instant in; syncs, results of the gate and bills since then out."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any

from google.api_core import exceptions

from millrace.domain.ledger import SHOWN_FILES, MergedSync
from millrace.domain.quality import QualityRun
from millrace.warehouse.bigquery.jobs import Jobs

MOST_JOBS = 5_000  # the bills of more jobs are not added up: no sum is better than a wrong one
JOBS_OF_A_MERGE = 20  # about; with so many merges the jobs are not even listed
PAGE = 1_000
MERGES = "SELECT COUNT(*) FROM {ledger} WHERE kind = 'merged' AND `at` >= @since"
MERGED_SYNCS = """
SELECT o.batch_id, o.job_id, COUNT(*), COALESCE(SUM(o.`rows`), 0),
  ARRAY_AGG(STRUCT(o.object AS object, o.generation AS generation, o.`rows` AS `rows`)
    ORDER BY o.object LIMIT {shown})
FROM {ledger_objects} o JOIN {ledger} l ON l.batch_id = o.batch_id AND l.kind = 'merged'
WHERE l.`at` >= @since AND {recent} GROUP BY o.batch_id, o.job_id ORDER BY o.batch_id, o.job_id
"""
RECENT = "(o.merged_at >= @since OR o.merged_at IS NULL)"  # NULL: an older version of the platform merged it
QUALITY_RUNS = """
SELECT `at`, run_id, candidate, COUNTIF(success), COUNTIF(NOT success AND severity = 'stop'),
  COUNTIF(NOT success AND severity = 'quarantine'), COUNTIF(NOT success AND severity = 'warn')
FROM {quality} WHERE `at` >= @since GROUP BY `at`, run_id, candidate ORDER BY `at` DESC
"""


class History:
    """Queries about the past of one warehouse."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._namespace = jobs, jobs.namespace

    def merged_syncs(self, since: datetime) -> dict[str, list[MergedSync]]:
        """Return the syncs of each batch that was merged from `since` on.

        Only the objects of these months are read, if this version or a later one created their table.
        """
        with self._jobs.translate_errors("find the ledger's objects"):
            objects = self._jobs.client.get_table(self._namespace.id("ops", "ledger_objects"), retry=self._jobs.retry)
        recent = RECENT if any(field.name == "merged_at" for field in objects.schema) else "TRUE"
        tables = {name: self._namespace.ops(name) for name in ("ledger", "ledger_objects")}
        syncs: dict[str, list[MergedSync]] = {}
        for batch, job, files, rows, first in self._rows(
            MERGED_SYNCS.format(shown=SHOWN_FILES, recent=recent, **tables), since
        ):
            sync = {"job_id": job, "files": files, "rows": rows, "first": tuple(dict(file) for file in first)}
            syncs.setdefault(batch, []).append(MergedSync.model_validate(sync))
        return syncs

    def quality_runs(self, since: datetime) -> list[QualityRun]:
        """Return a summary of each run of the gate from `since` on, newest first."""
        with self._jobs.translate_errors("read results of the gate"):
            try:
                self._jobs.client.get_table(self._namespace.id("ops", "quality"))
            except exceptions.NotFound:
                return []
        rows = self._rows(QUALITY_RUNS.format(quality=self._namespace.ops("quality")), since)
        return [QualityRun.model_validate(dict(zip(QualityRun.model_fields, row, strict=True))) for row in rows]

    def billed_bytes(self, since: datetime) -> dict[str, int] | None:
        """Return billed bytes by stream, from the labels of the project's jobs; None when there are too many jobs.

        Raises:
            WarehouseRefused: the account may not list jobs of others (`bigquery.jobs.listAll`).
        """
        ((merges,),) = self._rows(MERGES.format(ledger=self._namespace.ops("ledger")), since)
        if merges * JOBS_OF_A_MERGE > MOST_JOBS:
            return None
        with self._jobs.translate_errors("list billed jobs"):
            listed = self._jobs.client.list_jobs(all_users=True, min_creation_time=since, page_size=PAGE)
            jobs = list(islice(listed, MOST_JOBS + 1))
        return None if len(jobs) > MOST_JOBS else sum_billed_bytes(jobs)

    def _rows(self, sql: str, since: datetime) -> list[tuple[Any, ...]]:
        return self._jobs.rows(sql, {"since": since}, step="look")


def sum_billed_bytes(jobs: Iterable[Any]) -> dict[str, int]:
    """Return billed bytes by stream, without jobs that have no labels of a stream."""
    billed: Counter[str] = Counter()
    for job in jobs:
        labels = job.labels or {}
        if "millrace_source" in labels and "millrace_stream" in labels:
            stream = f"{labels['millrace_source']}.{labels['millrace_stream']}"
            billed[stream] += int(getattr(job, "total_bytes_billed", None) or 0)
    return dict(billed)
