"""The ledger in BigQuery: facts in; heads, balances, merged and quarantined objects out."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from google.api_core import exceptions

from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch, QuarantinedObject
from millrace.domain.ledger import CLOCKS_APART, Head, redriven_entry
from millrace.warehouse.bigquery.facts import APPEND, Facts, append_values
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.sql import quote

HEAD = ", ".join(quote(field) for field in Head.model_fields)
BALANCE = tuple(Balance.model_fields)
COMMITTED = f"""
SELECT {", ".join(BALANCE)} FROM {{ledger}} WHERE kind = 'merged' AND batch_id = @id AND `at` >= @since
"""  # noqa: S608
MOST_PAIRS = 5_000  # a request has at most 10 MB: https://cloud.google.com/bigquery/quotas#query_jobs
QUARANTINED = """
WITH merges AS (
  SELECT o.source, o.stream, o.object, o.generation, COUNT(*) AS attempts, ARRAY_AGG(o.batch_id) AS batches
  FROM {ledger_objects} o
  WHERE o.object IN (SELECT object FROM {quarantine}) AND (@all OR (o.source = @source AND o.stream = @stream))
  GROUP BY o.source, o.stream, o.object, o.generation),
newest AS (SELECT source, stream, object, MAX(generation) AS generation FROM merges GROUP BY source, stream, object),
again AS (
  SELECT source, stream, object, generation, COUNT(*) AS n FROM {redrives} GROUP BY source, stream, object, generation)
SELECT q.source, q.stream, q.object, q.generation, SUM(q.`rows`) AS `rows`, ANY_VALUE(m.attempts) AS attempts,
  STRING_AGG(DISTINCT q.reason, ', ' ORDER BY q.reason) AS reasons,
  COALESCE(ARRAY_AGG(q.detail ORDER BY COALESCE(q.`row`, -1) LIMIT 1)[OFFSET(0)], '') AS detail
FROM {quarantine} q
JOIN merges m ON m.source = q.source AND m.stream = q.stream AND m.object = q.object AND m.generation = q.generation
  AND m.attempts <= q.attempts AND q.batch_id IN UNNEST(m.batches)
JOIN newest n ON n.source = q.source AND n.stream = q.stream AND n.object = q.object AND n.generation = q.generation
LEFT JOIN again a
  ON a.source = q.source AND a.stream = q.stream AND a.object = q.object AND a.generation = q.generation
WHERE m.attempts > COALESCE(a.n, 0)
GROUP BY q.source, q.stream, q.object, q.generation ORDER BY q.source, q.stream, q.object, q.generation
"""
REDRIVES = "SELECT MIN(object), MAX(object) FROM {redrives} WHERE source = @source AND stream = @stream"
REDRIVEN = """
SELECT DISTINCT r.manifest FROM {redrives} r LEFT JOIN (
  SELECT object, generation, COUNT(*) AS merges FROM {ledger_objects}
  WHERE source = @source AND stream = @stream AND object BETWEEN @first AND @last GROUP BY object, generation) m
ON m.object = r.object AND m.generation = r.generation
WHERE r.source = @source AND r.stream = @stream AND r.attempt >= COALESCE(m.merges, 0)
"""
MERGES = """
WITH merges AS (
  SELECT o.object, o.generation, COUNT(*) AS n FROM {ledger_objects} o
  JOIN (SELECT DISTINCT e.object, e.generation FROM UNNEST(@pairs) e) a
  ON a.object = o.object AND a.generation = o.generation
  WHERE o.source = @source AND o.stream = @stream AND o.object BETWEEN @first AND @last
  GROUP BY o.object, o.generation),
again AS (
  SELECT object, generation, COUNT(*) AS n FROM {redrives}
  WHERE source = @source AND stream = @stream GROUP BY object, generation)
SELECT m.object, m.generation, m.n, COALESCE(a.n, 0) FROM merges m
LEFT JOIN again a ON a.object = m.object AND a.generation = m.generation
"""
ROWS = """
SELECT object, generation, COALESCE(MAX(`rows`), 0) FROM {ledger_objects}
WHERE source = @source AND stream = @stream AND object BETWEEN @first AND @last GROUP BY object, generation
"""
ADMIT = """
BEGIN TRANSACTION;
INSERT INTO {redrives} (source, stream, object, generation, attempt, manifest, run_id, `at`)
SELECT @source, @stream, o.object, o.generation, o.attempt, o.manifest, @run_id, @at FROM UNNEST(@objects) o;
{append};
COMMIT TRANSACTION;
"""


class Ledger:
    """The ledger of one warehouse; its tables do not exist before the first merge."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._namespace = jobs, jobs.namespace
        self.facts = Facts(jobs)

    def exists(self) -> bool:
        """Return True if its tables exist; `redrives` is created last."""
        return self._exists("redrives")

    def _exists(self, table: str) -> bool:
        with self._jobs.translate_errors("find the ledger"):
            try:
                self._jobs.client.get_table(self._namespace.id("ops", table), retry=self._jobs.retry)
            except exceptions.NotFound:
                return False
        return True

    def head(self, contract: StreamContract) -> Head:
        """Return the head of a stream whose tables exist."""
        (row,) = self._jobs.rows(f"SELECT {HEAD} FROM {self._namespace.head(contract)}", step="head", contract=contract)  # noqa: S608
        return Head.model_validate(dict(zip(Head.model_fields, row, strict=True)))

    def balance(self, batch: Batch) -> Balance | None:
        """Return the balance of a committed batch, None when it was not committed."""
        values = {"id": batch.id, "since": batch.opened_at - CLOCKS_APART}
        rows = self._jobs.rows(self._sql(COMMITTED), values, step="balance")
        return Balance.model_validate(dict(zip(BALANCE, rows[0], strict=True))) if rows else None

    def merges(
        self, contract: StreamContract, objects: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], tuple[int, int]]:
        """Return how often each (object, generation) was merged and redriven, of those that were ever merged."""
        counts: dict[tuple[str, int], tuple[int, int]] = {}
        for first in range(0, len(objects), MOST_PAIRS):
            pairs = [{"object": o, "generation": g} for o, g in objects[first : first + MOST_PAIRS]]
            names = [o for o, _ in objects[first : first + MOST_PAIRS]]
            values = _stream(contract) | {"pairs": pairs, "first": min(names), "last": max(names)}
            rows = self._jobs.rows(self._sql(MERGES), values, step="merges", contract=contract)
            counts |= {(str(o), int(g)): (int(merges), int(again)) for o, g, merges, again in rows}
        return counts

    def merged_objects(self, contract: StreamContract, objects: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """Return the (object, generation) pairs that were merged more often than they were redriven."""
        return {pair for pair, (merges, redrives) in self.merges(contract, objects).items() if merges > redrives}

    def erased(self, contract: StreamContract) -> dict[str, int]:
        """Return the ids of a stream's erasures that were executed, and how many of their keys had rows."""
        kind = "" if self._exists("erased") else "kind = 'erased' AND `at` >= TIMESTAMP '0001-01-01' AND "
        table = "{ledger}" if kind else "{erased}"  # the ledger is that of an older version of the platform
        query = f"SELECT batch_id, merged FROM {table} WHERE {kind}source = @source AND stream = @stream"  # noqa: S608
        rows = self._jobs.rows(self._sql(query), _stream(contract), step="erase", contract=contract)
        return {str(erasure): int(keys) for erasure, keys in rows}

    def quarantined_objects(self, contract: StreamContract | None = None) -> dict[str, list[QuarantinedObject]]:
        """Return quarantined objects that neither wait for a redrive nor were fixed since, by stream."""
        values = {"all": contract is None} | (_stream(contract) if contract else {"source": "", "stream": ""})
        objects: dict[str, list[QuarantinedObject]] = {}
        for source, stream, *row in self._jobs.rows(self._sql(QUARANTINED), values, step="refused", contract=contract):
            quarantined = QuarantinedObject.model_validate(dict(zip(QuarantinedObject.model_fields, row, strict=True)))
            objects.setdefault(f"{source}.{stream}", []).append(quarantined)
        return objects

    def redriven_manifests(self, contract: StreamContract) -> set[str]:
        """Return manifests of objects that wait to be merged once more."""
        values = _stream(contract)
        ((first, last),) = self._jobs.rows(self._sql(REDRIVES), values, step="redriven", contract=contract)
        if first is None:
            return set()
        values |= {"first": first, "last": last}
        return {str(m) for (m,) in self._jobs.rows(self._sql(REDRIVEN), values, step="redriven", contract=contract)}

    def redrive(
        self, contract: StreamContract, objects: Sequence[tuple[str, str, int]], run_id: str, at: datetime
    ) -> int:
        """Let (manifest, object, generation) be merged once more, in one transaction; return how many did not wait."""
        merges = self.merges(contract, [o[1:] for o in objects])
        admitted = [o for o in objects if merges.get(o[1:], (0, 0))[0] > merges.get(o[1:], (0, 0))[1]]
        if not admitted:
            return 0
        records = [{"manifest": m, "object": o, "generation": g, "attempt": merges[o, g][0]} for m, o, g in admitted]
        counts, stream = self._counts(contract, [o[1:] for o in admitted]), (contract.source, contract.stream)
        entries = [redriven_entry(stream, o, counts.get(o[1:], (0, 0)), run_id, at) for o in admitted]
        values = _stream(contract) | {
            "objects": records,
            "run_id": run_id,
            "at": at,
            **append_values(entries),
        }
        identity = json.dumps([contract.id, run_id, records]).encode()
        name = f"redrive-{self._namespace.prefix}{hashlib.sha256(identity).hexdigest()[:24]}"
        script = self._sql(ADMIT.replace("{append}", APPEND))
        self._jobs.query(name, script, values, step="redrive", contract=contract)
        return len(admitted)

    def _counts(
        self, contract: StreamContract, objects: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], tuple[int, int]]:
        """Return the rows of objects, and how many of them are in quarantine."""
        names = [name for name, _ in objects]
        values = _stream(contract) | {"first": min(names), "last": max(names)}
        rows = self._jobs.rows(self._sql(ROWS), values, step="rows", contract=contract)
        by_object = {(str(name), int(generation)): int(n) for name, generation, n in rows}
        objects_of = self.quarantined_objects(contract).get(contract.id, [])
        quarantined = {(o.object, o.generation): o.rows for o in objects_of}
        return {key: (by_object.get(key, 0), quarantined.get(key, 0)) for key in objects}

    def _sql(self, template: str) -> str:
        tables = ("ledger", "ledger_objects", "quarantine", "redrives", "erased")
        return template.format(**{name: self._namespace.ops(name) for name in tables})


def _stream(contract: StreamContract) -> dict[str, Any]:
    return {"source": contract.source, "stream": contract.stream}
