"""The facts of the ledger in BigQuery: facts in; facts since an instant, and what is open, out.

Every search begins at an instant, so that it reads the ledger's partitions from that day on, and BigQuery rejects any
other: before the settled instant, every merge is published and announced.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from google.api_core import exceptions

from millrace.contracts.stream import StreamContract
from millrace.domain.ledger import CLOCKS_APART, EVER, LedgerEntry
from millrace.domain.model import Publication
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.sql import LEDGER_COLUMNS, LEDGER_FIELDS, quote

DAY = timedelta(days=1)
MOST_ENTRIES = 5_000  # a request has at most 10 MB: https://cloud.google.com/bigquery/quotas#query_jobs
SHOWN = ", ".join(f"e.{quote(name)}" for name in LEDGER_FIELDS)
APPEND = f"""
INSERT INTO {{ledger}} ({LEDGER_COLUMNS}, written_at, place)
SELECT {SHOWN}, CURRENT_TIMESTAMP(), e.place FROM UNNEST(@entries) e
LEFT JOIN (SELECT kind, batch_id, run_id FROM {{ledger}} WHERE `at` >= @known_since) l
ON l.kind = e.kind AND l.batch_id = e.batch_id AND l.run_id = e.run_id WHERE l.kind IS NULL
"""  # noqa: S608
HAS = """
SELECT 1 FROM {ledger} WHERE kind = @kind AND batch_id = @batch AND run_id = @run AND `at` >= @since LIMIT 1
"""
ENTRIES = f"""
SELECT {LEDGER_COLUMNS} FROM {{ledger}} WHERE `at` >= @since AND `at` < @until AND (@all OR kind IN UNNEST(@kinds))
ORDER BY written_at, place
"""  # noqa: S608
WITHOUT = f"""
SELECT {", ".join(f"m.{quote(name)}" for name in LEDGER_FIELDS)} FROM (
  SELECT {LEDGER_COLUMNS}, written_at, place FROM {{ledger}}{{past}}
  WHERE kind IN ('merged', 'erased') AND `at` >= @since) m
LEFT JOIN (SELECT DISTINCT batch_id FROM {{ledger}}{{past}} WHERE kind = @done AND `at` >= @done_since) d
ON d.batch_id = m.batch_id WHERE d.batch_id IS NULL ORDER BY m.written_at, m.place
"""  # noqa: S608
PUBLICATION = """
WITH facts AS (
  SELECT kind, batch_id, detail, run_id, `at`, written_at, place FROM {ledger}
  WHERE kind IN ('published', 'modelled', 'announced') AND `at` >= @since),
newest AS (
  SELECT IF(kind = 'published', detail, batch_id) AS candidate, run_id FROM facts
  WHERE (kind = 'published' AND detail != '') OR kind = 'modelled' ORDER BY written_at DESC, place DESC LIMIT 1)
SELECT n.candidate, n.run_id, COUNTIF(f.kind = 'published' AND f.detail = n.candidate) AS batches,
  MIN(IF(f.kind != 'announced' AND n.candidate IN (f.detail, f.batch_id), f.`at`, NULL)) AS `at`
FROM newest n CROSS JOIN facts f GROUP BY n.candidate, n.run_id
HAVING COUNTIF(f.kind = 'announced' AND f.batch_id = n.candidate) = 0
"""
MODEL = f"""
SELECT {LEDGER_COLUMNS} FROM {{ledger}} WHERE kind = 'modelled' AND `at` >= @since
ORDER BY written_at DESC, place DESC LIMIT 1
"""  # noqa: S608
STREAMS = """
SELECT DISTINCT CONCAT(source, '.', stream) AS id FROM {ledger}
WHERE kind IN ('merged', 'erased') AND (merged > 0 OR tombstoned_by_absence > 0) AND `at` >= @since ORDER BY id
"""
NEWEST_MERGES = """
SELECT CONCAT(source, '.', stream) AS id, MAX(`at`) AS `at` FROM {ledger}
WHERE kind = 'merged' AND `at` >= @since GROUP BY id
"""
COUNT_MERGES = """
SELECT COUNT(*) FROM {ledger} WHERE kind = 'merged' AND source = @source AND stream = @stream AND `at` >= @since
"""
SETTLED = "SELECT before FROM {settled} ORDER BY written_at DESC LIMIT 1"
SETTLE = "INSERT INTO {settled} (before, written_at) VALUES (@before, CURRENT_TIMESTAMP())"


class Facts:
    """The facts of one warehouse; their table does not exist before the first merge."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._namespace = jobs, jobs.namespace

    def append(self, entries: Sequence[LedgerEntry]) -> None:
        """Append facts in their order; the same kind, batch and run again within a day changes nothing.

        Up to 5,000 are appended all or none; more of them in parts.
        """
        for first in range(0, len(entries), MOST_ENTRIES):
            part = entries[first : first + MOST_ENTRIES]
            identity = json.dumps([(e.kind, e.batch_id, e.run_id) for e in part]).encode()
            name = f"append-{self._namespace.prefix}{hashlib.sha256(identity).hexdigest()[:24]}"
            self._jobs.query(
                name,
                self._sql(APPEND),
                append_values(part),
                step="append",
                holds=partial(self._holds, part[-1]),
            )

    def _holds(self, entry: LedgerEntry, _job: object) -> bool:
        return self.has(entry)

    def has(self, entry: LedgerEntry) -> bool:
        """Return True if the ledger has a fact of this kind, batch and run, not older than a day before this one."""
        values = {
            "kind": entry.kind,
            "batch": entry.batch_id,
            "run": entry.run_id,
            "since": entry.at - CLOCKS_APART,
        }
        return bool(self._rows(HAS, values))

    def entries(self, since: datetime, kinds: Sequence[str], until: datetime) -> list[LedgerEntry]:
        """Return facts from `since` on and before `until`, in the order of their writing."""
        values = {"since": since, "until": until, "all": not kinds, "kinds": list(kinds)}
        return _facts(self._rows(ENTRIES, values))

    def unpublished(self, as_of: datetime | None) -> list[LedgerEntry]:
        """Return the merges and erasures that no marts include, as of an instant, in the order of their writing."""
        return self._without("published", as_of)

    def unannounced(self) -> list[LedgerEntry]:
        """Return the merges and erasures that were not announced, in the order of their writing."""
        return self._without("announced")

    def _without(self, kind: str, as_of: datetime | None = None) -> list[LedgerEntry]:
        since = self.settled()
        past = f" FOR SYSTEM_TIME AS OF TIMESTAMP '{as_of.isoformat()}'" if as_of else ""
        done_since = since - CLOCKS_APART if since > EVER else EVER
        return _facts(self._rows(WITHOUT, {"since": since, "done": kind, "done_since": done_since}, past=past))

    def unannounced_publication(self) -> Publication | None:
        """Return the newest publication unless it was announced; older ones are not announced any more."""
        rows = self._rows(PUBLICATION, {"since": self.settled()})
        return Publication.model_validate(dict(zip(Publication.model_fields, rows[0], strict=True))) if rows else None

    def newest_model(self) -> LedgerEntry | None:
        """Return the `modelled` fact of the newest publication."""
        return next(iter(_facts(self._rows(MODEL, {"since": self.settled()}))), None)

    def changed_streams(self) -> list[str]:
        """Return the streams of which rows were ever merged or erased; this reads the whole ledger."""
        return [str(stream) for (stream,) in self._rows(STREAMS, {"since": EVER})]

    def newest_merges(self, since: datetime) -> dict[str, datetime]:
        """Return the time of the newest merge of each stream that was merged from `since` on."""
        return {str(stream): at for stream, at in self._rows(NEWEST_MERGES, {"since": since})}

    def count_merges(self, contract: StreamContract, since: datetime) -> int:
        """Return the number of merges of a stream from `since` on."""
        values = {"source": contract.source, "stream": contract.stream, "since": since}
        ((count,),) = self._rows(COUNT_MERGES, values)
        return int(count)

    def settled(self) -> datetime:
        """Return the instant before which every merge is published and announced."""
        with self._jobs.translate_errors("find what is settled"):
            try:
                self._jobs.client.get_table(self._namespace.id("ops", "settled"), retry=self._jobs.retry)
            except exceptions.NotFound:
                return EVER  # an older version of the platform created the ledger
        rows = self._rows(SETTLED, {})
        return rows[0][0] if rows else EVER

    def settle(self, before: datetime) -> None:
        """Store the instant before which every merge is published and announced, if it moved by a day or more."""
        if abs(before - self.settled()) >= DAY:
            self._rows(SETTLE, {"before": before})

    def _rows(self, template: str, values: dict[str, Any], past: str = "") -> list[tuple[Any, ...]]:
        return self._jobs.rows(self._sql(template, past), values, step="ledger")

    def _sql(self, template: str, past: str = "") -> str:
        tables = {name: self._namespace.ops(name) for name in ("ledger", "settled")}
        return template.format(**tables, past=past)


def append_values(entries: Sequence[LedgerEntry]) -> dict[str, Any]:
    """Return the parameters of the INSERT of facts; earlier facts are searched from a day before the oldest on."""
    since = min(entry.at for entry in entries) - CLOCKS_APART
    return {
        "entries": [entry.model_dump() | {"place": place} for place, entry in enumerate(entries)],
        "known_since": since,
    }


def _facts(rows: Iterable[Sequence[Any]]) -> list[LedgerEntry]:
    return [LedgerEntry.model_validate(dict(zip(LEDGER_FIELDS, row, strict=True))) for row in rows]
