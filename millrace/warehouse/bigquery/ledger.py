"""The ledger in BigQuery: facts in; heads, balances, merged and quarantined objects out."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from google.api_core import exceptions

from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, QuarantinedObject
from millrace.domain.ledger import Head, LedgerEntry
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.sql import LEDGER_COLUMNS, LEDGER_FIELDS, quote

HEAD = ", ".join(quote(field) for field in Head.model_fields)
BALANCE = tuple(Balance.model_fields)
MOST_PAIRS = 5_000  # a request has at most 10 MB: https://cloud.google.com/bigquery/quotas#query_jobs
QUARANTINED = """
WITH merges AS (
  SELECT o.source, o.stream, o.object, o.generation, COUNT(*) AS attempts,
    ARRAY_AGG(o.batch_id ORDER BY l.written_at DESC LIMIT 1)[OFFSET(0)] AS batch_id
  FROM {ledger_objects} o JOIN {ledger} l ON l.batch_id = o.batch_id AND l.kind = 'merged'
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
  AND m.batch_id = q.batch_id
JOIN newest n ON n.source = q.source AND n.stream = q.stream AND n.object = q.object AND n.generation = q.generation
LEFT JOIN again a
  ON a.source = q.source AND a.stream = q.stream AND a.object = q.object AND a.generation = q.generation
WHERE m.attempts > COALESCE(a.n, 0)
GROUP BY q.source, q.stream, q.object, q.generation ORDER BY q.source, q.stream, q.object, q.generation
"""
REDRIVEN = """
SELECT DISTINCT r.manifest FROM {redrives} r LEFT JOIN (
  SELECT object, generation, COUNT(*) AS merges FROM {ledger_objects}
  WHERE source = @source AND stream = @stream GROUP BY object, generation) m
ON m.object = r.object AND m.generation = r.generation
WHERE r.source = @source AND r.stream = @stream AND r.attempt >= COALESCE(m.merges, 0)
"""
MERGES = """
WITH merges AS (
  SELECT o.object, o.generation, COUNT(*) AS n FROM {ledger_objects} o
  JOIN (SELECT DISTINCT e.object, e.generation FROM UNNEST(@pairs) e) a
  ON a.object = o.object AND a.generation = o.generation
  WHERE o.source = @source AND o.stream = @stream GROUP BY o.object, o.generation),
again AS (
  SELECT object, generation, COUNT(*) AS n FROM {redrives}
  WHERE source = @source AND stream = @stream GROUP BY object, generation)
SELECT m.object, m.generation, m.n, COALESCE(a.n, 0) FROM merges m
LEFT JOIN again a ON a.object = m.object AND a.generation = m.generation
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

    def exists(self) -> bool:
        """Return True if its tables exist; `redrives` is created last."""
        with self._jobs.translate_errors("find the ledger"):
            try:
                self._jobs.client.get_table(self._namespace.id("ops", "redrives"), retry=self._jobs.retry)
            except exceptions.NotFound:
                return False
        return True

    def head(self, contract: StreamContract) -> Head:
        """Return the head of a stream whose tables exist."""
        (row,) = self._jobs.rows(f"SELECT {HEAD} FROM {self._namespace.head(contract)}", step="head", contract=contract)  # noqa: S608
        return Head.model_validate(dict(zip(Head.model_fields, row, strict=True)))

    def head_and_commits(self, contract: StreamContract, since: datetime) -> tuple[Head, int, datetime | None]:
        """Return the head of a stream, the number of commits to its table since then, and the time of the last one."""
        query = (
            f"SELECT {HEAD}, commits, newest FROM {self._namespace.head(contract)}"  # noqa: S608
            " CROSS JOIN (SELECT COUNT(*) AS commits, MAX(`at`) AS newest FROM {ledger}"
            " WHERE kind IN ('merged', 'erased') AND source = @source AND stream = @stream AND `at` > @since)"
        )
        values = _stream(contract) | {"since": since}
        ((*row, commits, newest),) = self._jobs.rows(self._sql(query), values, step="head", contract=contract)
        return Head.model_validate(dict(zip(Head.model_fields, row, strict=True))), int(commits), newest

    def balance(self, batch_id: str) -> Balance | None:
        """Return the balance of a committed batch, None when it was not committed."""
        query = (
            f"SELECT {', '.join(BALANCE)} FROM {self._namespace.ops('ledger')} WHERE kind = 'merged' AND batch_id = @id"  # noqa: S608
        )
        rows = self._jobs.rows(query, {"id": batch_id}, step="balance")
        return Balance.model_validate(dict(zip(BALANCE, rows[0], strict=True))) if rows else None

    def merges(
        self, contract: StreamContract, objects: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], tuple[int, int]]:
        """Return how often each (object, generation) was merged and redriven, of those that were ever merged."""
        counts: dict[tuple[str, int], tuple[int, int]] = {}
        for first in range(0, len(objects), MOST_PAIRS):
            pairs = [{"object": o, "generation": g} for o, g in objects[first : first + MOST_PAIRS]]
            rows = self._jobs.rows(
                self._sql(MERGES), _stream(contract) | {"pairs": pairs}, step="merges", contract=contract
            )
            counts |= {(str(o), int(g)): (int(merges), int(again)) for o, g, merges, again in rows}
        return counts

    def merged_objects(self, contract: StreamContract, objects: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """Return the (object, generation) pairs that were merged more often than they were redriven."""
        return {pair for pair, (merges, redrives) in self.merges(contract, objects).items() if merges > redrives}

    def append(self, entries: Sequence[LedgerEntry]) -> None:
        """Append facts, all or none; the same kind, batch and run again changes nothing."""
        if not entries:
            return
        records = {"entries": [_record(ordinal, entry) for ordinal, entry in enumerate(entries)]}
        identity = json.dumps([(e.kind, e.batch_id, e.run_id) for e in entries]).encode()
        name = f"append-{self._namespace.prefix}{hashlib.sha256(identity).hexdigest()[:24]}"
        self._jobs.query(name, self._sql(self._append()), records, step="append", holds=lambda _: self.has(entries[0]))

    def _append(self) -> str:
        shown = ", ".join(f"e.{quote(name)}" for name in LEDGER_FIELDS)
        return (
            f"INSERT INTO {{ledger}} ({LEDGER_COLUMNS}, written_at, place)"  # noqa: S608
            f" SELECT {shown}, CURRENT_TIMESTAMP(), e.place FROM UNNEST(@entries) e LEFT JOIN {{ledger}} l"
            " ON l.kind = e.kind AND l.batch_id = e.batch_id AND l.run_id = e.run_id WHERE l.kind IS NULL"
        )

    def has(self, entry: LedgerEntry) -> bool:
        """Return True if the ledger has a fact of this kind, batch and run."""
        return bool(
            self._jobs.rows(
                self._sql("SELECT 1 FROM {ledger} WHERE kind = @kind AND batch_id = @batch AND run_id = @run LIMIT 1"),
                {"kind": entry.kind, "batch": entry.batch_id, "run": entry.run_id},
                step="ledger",
            )
        )

    def erased(self, erasure_id: str) -> tuple[int, ...]:
        """Return how many keys of an erasure had rows; empty when it was not committed."""
        query = "SELECT merged FROM {ledger} WHERE kind = 'erased' AND batch_id = @id"
        return tuple(int(keys) for (keys,) in self._jobs.rows(self._sql(query), {"id": erasure_id}, step="erase"))

    def entries(self, since: datetime | None, kinds: Sequence[str], as_of: datetime | None = None) -> list[LedgerEntry]:
        """Return facts in the order of their writing, from `since` on, as of an instant."""
        conditions = ["`at` >= @since"] * (since is not None) + ["kind IN UNNEST(@kinds)"] * bool(kinds)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        past = f" FOR SYSTEM_TIME AS OF TIMESTAMP '{as_of.isoformat()}'" if as_of else ""
        query = f"SELECT {LEDGER_COLUMNS} FROM {{ledger}}{past}{where} ORDER BY written_at, place"  # noqa: S608
        values = ({"since": since} if since else {}) | ({"kinds": list(kinds)} if kinds else {})
        rows = self._jobs.rows(self._sql(query), values, step="ledger")
        return [LedgerEntry.model_validate(dict(zip(LEDGER_FIELDS, row, strict=True))) for row in rows]

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
        rows = self._jobs.rows(self._sql(REDRIVEN), _stream(contract), step="redriven", contract=contract)
        return {str(row[0]) for row in rows}

    def redrive(
        self, contract: StreamContract, objects: Sequence[tuple[str, str, int]], run_id: str, at: datetime
    ) -> int:
        """Let (manifest, object, generation) be merged once more, in one transaction; return how many did not wait."""
        merges = self.merges(contract, [o[1:] for o in objects])
        admitted = [o for o in objects if merges.get(o[1:], (0, 0))[0] > merges.get(o[1:], (0, 0))[1]]
        if not admitted:
            return 0
        records = [{"manifest": m, "object": o, "generation": g, "attempt": merges[o, g][0]} for m, o, g in admitted]
        entries = [
            LedgerEntry(
                kind="redriven",
                batch_id=f"{o}#{g}",
                source=contract.source,
                stream=contract.stream,
                run_id=run_id,
                at=at,
                detail=m,
            )
            for m, o, g in admitted
        ]
        values = _stream(contract) | {
            "objects": records,
            "run_id": run_id,
            "at": at,
            "entries": [_record(i, e) for i, e in enumerate(entries)],
        }
        identity = json.dumps([contract.id, run_id, records]).encode()
        name = f"redrive-{self._namespace.prefix}{hashlib.sha256(identity).hexdigest()[:24]}"
        script = self._sql(ADMIT.replace("{append}", self._append()))
        self._jobs.query(name, script, values, step="redrive", contract=contract)
        return len(admitted)

    def _sql(self, template: str) -> str:
        tables = ("ledger", "ledger_objects", "quarantine", "redrives")
        return template.format(**{name: self._namespace.ops(name) for name in tables})


def _stream(contract: StreamContract) -> dict[str, Any]:
    return {"source": contract.source, "stream": contract.stream}


def _record(ordinal: int, entry: LedgerEntry) -> dict[str, Any]:
    return entry.model_dump() | {"place": ordinal}
