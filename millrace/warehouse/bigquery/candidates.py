"""What candidates leave in BigQuery: the journal of publications in; ended datasets and old rows of it deleted out.

Tables of a candidate expire, but its dataset never does. A dataset that no publication began is somebody else's.
"""

import logging
from datetime import UTC, datetime, timedelta

from millrace.domain.errors import MillraceError
from millrace.observability.events import log_event
from millrace.warehouse.bigquery.jobs import Jobs

log = logging.getLogger(__name__)

PREFIX = "candidate_"
BEGUN = """
SELECT candidate, LOGICAL_OR(step = 'done') AS done, MAX(written_at) AS newest FROM {publications}
WHERE candidate IN UNNEST(@candidates) AND step IN ('begun', 'done')
GROUP BY candidate HAVING LOGICAL_OR(step = 'begun') ORDER BY candidate
"""
FORGET = """
DELETE FROM {publications} WHERE written_at < @before AND candidate NOT IN UNNEST(@existing)
AND candidate NOT IN (SELECT candidate FROM {published})
AND candidate NOT IN (
  SELECT ARRAY_AGG(candidate ORDER BY written_at DESC LIMIT 1)[OFFSET(0)] FROM {publications}
  WHERE step IN ('planned', 'copied', 'dropped') GROUP BY mart)
"""


class Candidates:
    """The datasets of candidates of one warehouse; an unpublished one is kept for a time, for inspection.

    Their rows in the journal are kept for a longer time.
    """

    def __init__(self, jobs: Jobs, keep_days: float, keep_journal_days: float) -> None:
        self._jobs, self._namespace = jobs, jobs.namespace
        self._kept, self._journal_kept = timedelta(days=keep_days), timedelta(days=keep_journal_days)

    def drop_ended(self) -> list[str]:
        """Delete datasets of candidates that are published, or older than the time for which they are kept.

        Old rows of the journal are deleted too. A failure is logged: the next publication deletes them.
        """
        try:
            existing = self._existing()
            dropped = [candidate for candidate in self._ended(existing) if self._drop(candidate)]
            self._forget([candidate for candidate in existing if candidate not in dropped])
        except MillraceError as error:
            log_event(log, logging.WARNING, "candidates.kept", str(error), why=str(error))
            return []
        return dropped

    def _existing(self) -> list[str]:
        prefix = self._namespace.dataset(PREFIX)
        with self._jobs.translate_errors("list candidates"):
            listed = [d.dataset_id for d in self._jobs.client.list_datasets(retry=self._jobs.retry)]
        return [name.removeprefix(self._namespace.prefix) for name in listed if name.startswith(prefix)]

    def _ended(self, candidates: list[str]) -> list[str]:
        if not candidates:
            return []
        query = BEGUN.format(publications=self._namespace.ops("publications"))
        before = datetime.now(UTC) - self._kept
        rows = self._jobs.rows(query, {"candidates": candidates}, step="publish")
        return [str(candidate) for candidate, is_done, newest in rows if is_done or newest < before]

    def _forget(self, existing: list[str]) -> None:
        """Delete the journal's old rows of candidates that are gone, but for the published one and each mart's newest.

        The newest rows of a mart say whether the platform made it.
        """
        tables = {name: self._namespace.ops(name) for name in ("publications", "published")}
        values = {"before": datetime.now(UTC) - self._journal_kept, "existing": existing}
        self._jobs.rows(FORGET.format(**tables), values, step="publish")

    def _drop(self, candidate: str) -> bool:
        dataset = f"{self._namespace.project}.{self._namespace.dataset(candidate)}"
        with self._jobs.translate_errors(f"delete {candidate}"):
            self._jobs.client.delete_dataset(dataset, delete_contents=True, not_found_ok=True, retry=self._jobs.retry)
        return True
