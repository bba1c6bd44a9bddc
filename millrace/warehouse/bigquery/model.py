"""Queries of model runs in BigQuery: batches in, changed days and rows out; results of the gate in and out."""

from collections.abc import Sequence
from datetime import datetime

from google.api_core import exceptions

from millrace.contracts.stream import StreamContract
from millrace.domain.quality import QualityFact
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.schema import Schema
from millrace.warehouse.quality import MOST_DAYS, fact, result_values

RECORD = """
INSERT INTO {quality}
  (`at`, `by`, run_id, candidate, suite, expectation, `column`, severity, success, observed, sample, place)
SELECT f.`at`, f.`by`, f.run_id, f.candidate, f.suite, f.expectation, f.`column`, f.severity, f.success, f.observed,
  f.sample, f.place FROM UNNEST(@facts) f
"""
NEWEST = """
SELECT q.`at`, q.`by`, q.run_id, q.candidate, q.suite, q.expectation, q.`column`, q.severity, q.success, q.observed,
  q.sample FROM {quality} q JOIN (SELECT suite, MAX(`at`) AS `at` FROM {quality} GROUP BY suite) n
  ON n.suite = q.suite AND n.`at` = q.`at` ORDER BY q.suite, q.place
"""


class ModelQueries:
    """Queries of model runs on one warehouse."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._namespace = jobs, jobs.namespace

    def instant(self) -> datetime:
        """Return the current time of BigQuery."""
        ((now,),) = self._jobs.rows("SELECT CURRENT_TIMESTAMP()", step="model")
        return datetime.fromisoformat(str(now))

    def touched_days(self, contract: StreamContract, batches: Sequence[str]) -> list[str] | None:
        """Return days of the partition column in which batches changed rows; None when a list can't express them."""
        column = contract.day_column
        if column is None:
            return None
        query = (
            f"SELECT DISTINCT CAST(DATE({sql.quote(column)}) AS STRING) AS day FROM {self._namespace.raw(contract)}"  # noqa: S608
            f" WHERE _batch_id IN UNNEST(@batches) OR _delete_batch_id IN UNNEST(@batches)"
            f" ORDER BY day LIMIT {MOST_DAYS + 1}"
        )
        days = self._jobs.rows(query, {"batches": list(batches)}, step="model", contract=contract)
        return [str(day) for (day,) in days] if len(days) <= MOST_DAYS else None

    def merged_rows(self, contract: StreamContract, batches: Sequence[str] | None, as_of: datetime | None) -> str:
        """Return SQL of the live rows that batches (None: all) wrote and that are still the newest of their keys."""
        condition = "" if batches is None else f"_batch_id IN ({', '.join(map(sql.text, batches)) or 'NULL'}) AND "
        past = f" FOR SYSTEM_TIME AS OF TIMESTAMP '{as_of.isoformat()}'" if as_of else ""
        return (
            f"SELECT * FROM {self._namespace.raw(contract)}{past} WHERE {condition}_version IS NOT NULL"  # noqa: S608
            " AND (_delete_version IS NULL OR _delete_version < _version)"
        )

    def record(self, facts: Sequence[QualityFact]) -> None:
        """Store results, all or none."""
        if not facts:
            return
        Schema(self._jobs).create_ops()
        records = [
            quality.model_dump(exclude={"result"}) | result_values(quality) | {"place": ordinal}
            for ordinal, quality in enumerate(facts)
        ]
        self._jobs.rows(self._sql(RECORD), {"facts": records}, step="quality")

    def newest(self) -> list[QualityFact]:
        """Return the newest results of every suite."""
        with self._jobs.translate_errors("read results of the gate"):
            try:
                self._jobs.client.get_table(self._namespace.id("ops", "quality"))
            except exceptions.NotFound:
                return []
        return [fact(row) for row in self._jobs.rows(self._sql(NEWEST), step="quality")]

    def _sql(self, template: str) -> str:
        return template.format(quality=self._namespace.ops("quality"))
