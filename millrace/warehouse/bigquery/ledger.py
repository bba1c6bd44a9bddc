"""The ledger in BigQuery: heads, balances, merged objects, facts, and quarantined objects to be merged once more."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from google.api_core import exceptions

from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, RefusedObject
from millrace.domain.ledger import Head, LedgerEntry
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.sql import LEDGER_COLUMNS, LEDGER_FIELDS, quote

HEAD = ", ".join(quote(field) for field in Head.model_fields)
BALANCE = tuple(Balance.model_fields)
MOST_ASKED = 5_000  # a request has at most 10 MB: https://cloud.google.com/bigquery/quotas#query_jobs
REFUSED = """
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
  STRING_AGG(DISTINCT q.reason, ', ' ORDER BY q.reason) AS reasons
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
  JOIN (SELECT DISTINCT e.object, e.generation FROM UNNEST(@asked) e) a
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
    """What is known of merges at one place; a place where nothing was merged yet knows nothing."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._place = jobs, jobs.place

    def exists(self) -> bool:
        """Whether its tables are there; `redrives` is made last."""
        with self._jobs.answering("look for the ledger"):
            try:
                self._jobs.client.get_table(self._place.id("ops", "redrives"), retry=self._jobs.retry)
            except exceptions.NotFound:
                return False
        return True

    def head(self, contract: StreamContract) -> Head:
        """How far a stream that was prepared is."""
        (row,) = self._jobs.rows(f"SELECT {HEAD} FROM {self._place.head(contract)}", step="head", contract=contract)  # noqa: S608
        return Head.model_validate(dict(zip(Head.model_fields, row, strict=True)))

    def head_and_commits(self, contract: StreamContract, since: datetime) -> tuple[Head, int, datetime | None]:
        """How far a stream is, how often its table was changed since then, and when for the last time."""
        query = (
            f"SELECT {HEAD}, commits, newest FROM {self._place.head(contract)} CROSS JOIN (SELECT COUNT(*) AS commits,"  # noqa: S608
            " MAX(`at`) AS newest FROM {ledger} WHERE kind IN ('merged', 'erased') AND source = @source"
            " AND stream = @stream AND `at` > @since)"
        )
        given = _stream(contract) | {"since": since}
        ((*row, commits, newest),) = self._jobs.rows(self._sql(query), given, step="head", contract=contract)
        return Head.model_validate(dict(zip(Head.model_fields, row, strict=True))), int(commits), newest

    def balance(self, batch_id: str) -> Balance | None:
        """The balance of a committed batch, None when it was not committed."""
        query = f"SELECT {', '.join(BALANCE)} FROM {self._place.ops('ledger')} WHERE kind = 'merged' AND batch_id = @id"  # noqa: S608
        found = self._jobs.rows(query, {"id": batch_id}, step="balance")
        return Balance.model_validate(dict(zip(BALANCE, found[0], strict=True))) if found else None

    def merges(
        self, contract: StreamContract, asked: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], tuple[int, int]]:
        """How often each (object, generation) was merged, and how often let in again; only those ever merged."""
        found: dict[tuple[str, int], tuple[int, int]] = {}
        for first in range(0, len(asked), MOST_ASKED):
            part = [{"object": o, "generation": g} for o, g in asked[first : first + MOST_ASKED]]
            rows = self._jobs.rows(
                self._sql(MERGES), _stream(contract) | {"asked": part}, step="merges", contract=contract
            )
            found |= {(str(o), int(g)): (int(merges), int(again)) for o, g, merges, again in rows}
        return found

    def merged_objects(self, contract: StreamContract, asked: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those of the (object, generation) pairs that the ledger has more often than they were let in again."""
        return {pair for pair, (merges, redrives) in self.merges(contract, asked).items() if merges > redrives}

    def append(self, entries: Sequence[LedgerEntry]) -> None:
        """Add facts, all or none; the same kind, batch and run again changes nothing."""
        if not entries:
            return
        given = {"entries": [_record(place, entry) for place, entry in enumerate(entries)]}
        identity = json.dumps([(e.kind, e.batch_id, e.run_id) for e in entries]).encode()
        name = f"append-{self._place.prefix}{hashlib.sha256(identity).hexdigest()[:24]}"
        self._jobs.query(name, self._sql(self._append()), given, step="append", holds=lambda _: self.has(entries[0]))

    def _append(self) -> str:
        shown = ", ".join(f"e.{quote(name)}" for name in LEDGER_FIELDS)
        return (
            f"INSERT INTO {{ledger}} ({LEDGER_COLUMNS}, written_at, place)"  # noqa: S608
            f" SELECT {shown}, CURRENT_TIMESTAMP(), e.place FROM UNNEST(@entries) e LEFT JOIN {{ledger}} l"
            " ON l.kind = e.kind AND l.batch_id = e.batch_id AND l.run_id = e.run_id WHERE l.kind IS NULL"
        )

    def has(self, entry: LedgerEntry) -> bool:
        """Whether a fact of this kind, batch and run is there."""
        return bool(
            self._jobs.rows(
                self._sql("SELECT 1 FROM {ledger} WHERE kind = @kind AND batch_id = @batch AND run_id = @run LIMIT 1"),
                {"kind": entry.kind, "batch": entry.batch_id, "run": entry.run_id},
                step="ledger",
            )
        )

    def erased(self, erasure_id: str) -> tuple[int, ...]:
        """How many keys of an erasure had rows; empty when it is not done."""
        query = "SELECT merged FROM {ledger} WHERE kind = 'erased' AND batch_id = @id"
        return tuple(int(found) for (found,) in self._jobs.rows(self._sql(query), {"id": erasure_id}, step="erase"))

    def entries(self, since: datetime | None, kinds: Sequence[str], as_of: datetime | None = None) -> list[LedgerEntry]:
        """Facts in the order they were written, from `since` on, `as_of` an instant."""
        conditions = ["`at` >= @since"] * (since is not None) + ["kind IN UNNEST(@kinds)"] * bool(kinds)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        past = f" FOR SYSTEM_TIME AS OF TIMESTAMP '{as_of.isoformat()}'" if as_of else ""
        query = f"SELECT {LEDGER_COLUMNS} FROM {{ledger}}{past}{where} ORDER BY written_at, place"  # noqa: S608
        given = ({"since": since} if since else {}) | ({"kinds": list(kinds)} if kinds else {})
        rows = self._jobs.rows(self._sql(query), given, step="ledger")
        return [LedgerEntry.model_validate(dict(zip(LEDGER_FIELDS, row, strict=True))) for row in rows]

    def refused(self, contract: StreamContract | None = None) -> dict[str, list[RefusedObject]]:
        """Objects in quarantine that neither wait to be merged again nor were mended since, by stream."""
        given = {"all": contract is None} | (_stream(contract) if contract else {"source": "", "stream": ""})
        found: dict[str, list[RefusedObject]] = {}
        for source, stream, *row in self._jobs.rows(self._sql(REFUSED), given, step="refused", contract=contract):
            one = RefusedObject.model_validate(dict(zip(RefusedObject.model_fields, row, strict=True)))
            found.setdefault(f"{source}.{stream}", []).append(one)
        return found

    def redriven(self, contract: StreamContract) -> set[str]:
        """Manifests of objects that wait to be merged once more."""
        rows = self._jobs.rows(self._sql(REDRIVEN), _stream(contract), step="redriven", contract=contract)
        return {str(row[0]) for row in rows}

    def redrive(
        self, contract: StreamContract, objects: Sequence[tuple[str, str, int]], run_id: str, at: datetime
    ) -> int:
        """Let (manifest, object, generation) be merged once more, in one transaction; returns how many did not wait."""
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
        given = _stream(contract) | {
            "objects": records,
            "run_id": run_id,
            "at": at,
            "entries": [_record(i, e) for i, e in enumerate(entries)],
        }
        identity = json.dumps([contract.id, run_id, records]).encode()
        name = f"redrive-{self._place.prefix}{hashlib.sha256(identity).hexdigest()[:24]}"
        script = self._sql(ADMIT.replace("{append}", self._append()))
        self._jobs.query(name, script, given, step="redrive", contract=contract)
        return len(admitted)

    def _sql(self, template: str) -> str:
        tables = ("ledger", "ledger_objects", "quarantine", "redrives")
        return template.format(**{name: self._place.ops(name) for name in tables})


def _stream(contract: StreamContract) -> dict[str, Any]:
    return {"source": contract.source, "stream": contract.stream}


def _record(place: int, entry: LedgerEntry) -> dict[str, Any]:
    return entry.model_dump() | {"place": place}
