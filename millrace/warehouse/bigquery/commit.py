"""The commit in BigQuery: a staged batch in, its balance out; head, table and ledger change in one transaction.

Head and ledger, not the result of a job, decide if a batch was committed: they are read again after every failure.
"""

import hashlib
import io
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from google.cloud import bigquery

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance, Batch, Staged, newest_generations
from millrace.domain.errors import (
    BalanceError,
    BudgetExceeded,
    MillraceError,
    SettingsError,
    WarehouseBusy,
    WarehouseRefused,
)
from millrace.domain.ledger import Head
from millrace.lake.store import Lake
from millrace.warehouse import columns, heads
from millrace.warehouse.bigquery import merge_sql as merging
from millrace.warehouse.bigquery import partitions
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.bigquery import unchanged as lacking
from millrace.warehouse.bigquery import unchanged_sql as values
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.ledger import Ledger
from millrace.warehouse.bigquery.merge_sql import Merge, StagedTables

TRIES = 5
MOST_URIS = 10_000  # of one load job: https://cloud.google.com/bigquery/quotas#load_jobs
CONCURRENT = re.compile(r"aborted due to concurrent update|Could not serialize access", re.I)
TERMS = re.compile(rf"{merging.UNBALANCED} merged=(\d+) stale=(\d+) absent=(\d+) lost=(\d+)")
QUARANTINED = {
    "reason": "string",
    "object": "string",
    "generation": "int64",
    "row": "int64",
    "rows": "int64",
    "detail": "string",
    "attempts": "int64",
}
QUARANTINED_FILE = "refused.parquet"
ARROW = {"string": pa.string(), "int64": pa.int64()}


class Commit:
    """The commit of one staged batch."""

    def __init__(
        self, jobs: Jobs, contract: StreamContract, batch: Batch, staged: Staged, lake: Lake, run_id: str, at: datetime
    ) -> None:
        if not lake.url.startswith("gs://"):
            raise SettingsError(f"BigQuery loads from gs://, and the lake is {lake.url}")
        self._jobs, self._ledger, self._namespace = jobs, Ledger(jobs), jobs.namespace
        self._contract, self._batch, self._staged, self._lake = contract, batch, staged, lake
        self._run_id, self._at = run_id, at
        self._digest = ""

    def run(self) -> Balance:
        """Commit, or return the balance of an earlier commit. Raises HeadMoved, BalanceError and BudgetExceeded."""
        for _ in range(TRIES):
            head = self._ledger.head(self._contract)
            if head.epoch != self._batch.head_epoch:
                if balance := self._ledger.balance(self._batch):
                    return balance
                raise heads.overtaken(self._batch, head)
            try:
                self._commit(self._plan(head), head)
            except WarehouseRefused as error:
                self._explain(error)
            if balance := self._ledger.balance(self._batch):
                return balance
        raise WarehouseBusy(
            f"batch {self._batch.id} of {self._contract.id}: {TRIES} transactions were aborted by others; find the"
            " process that commits to the same stream: only one should run at a time"
        )

    def _plan(self, head: Head) -> Merge:
        """Return the merge of the loaded staging tables, with its bounds on the target."""
        batch, staged = self._batch, self._staged
        merges = self._ledger.merges(self._contract, [(o.name, o.generation) for o in batch.objects])
        if merged := {pair for pair, (count, redrives) in merges.items() if count > redrives}:
            raise heads.already_merged(batch, merged)
        floor = heads.next_head(head, batch, staged, self._at).floor
        snapshots = self._contract.mode == "overwrite"
        replaces = bool(staged.floor and staged.floor == floor) if snapshots else bool(floor) and floor != head.floor
        above = bool(staged.lowest) and staged.lowest >= floor and not replaces  # no row has to be compared
        tables = self._load(merges, floor)
        merge = Merge(
            self._namespace,
            self._contract,
            tables,
            "" if above else floor,
            replaces=replaces,
            again=bool(merges),
            before=head.floor,
            spares=self._spares(head.floor, floor, tables),
            snapshots=tuple(s for s in sorted({*staged.snapshots, staged.floor}) if s and s <= floor),
            mended=self._mended(),
            objects=bool(batch.objects),
            revives=staged.revives,
        )
        return Merge(**{**vars(merge), "where": self._bounds(merge)})

    def _spares(self, before: str, floor: str, tables: StagedTables) -> bool:
        """Return whether the newest snapshot can have keys in quarantine only, of which older rows count."""
        if not (self._contract.key and floor) or self._contract.mode != "overwrite":
            return False
        return bool(tables.kept_keys) if floor > before else any(o.min_version < floor for o in self._batch.objects)

    def _mended(self) -> tuple[tuple[str, int], ...]:
        """Return the newest generations of objects of which an older one has rows, if the stream has no key."""
        if self._contract.key:
            return ()
        merged = self._jobs.rows(
            merging.merged_generations(self._namespace),
            {
                "source": self._batch.source,
                "stream": self._batch.stream,
                "names": sorted({o.name for o in self._batch.objects}),
            },
            step="mended",
            contract=self._contract,
        )
        pairs = [(str(name), int(generation)) for name, generation in merged]
        return tuple(sorted(newest_generations(self._batch, self._staged, pairs).items()))

    def _load(self, merges: dict[tuple[str, int], tuple[int, int]], floor: str) -> StagedTables:
        """Load each kind of staging files into its own table, whose name identifies its content."""
        contract, staged = self._contract, self._staged
        attempts = {pair: merged for pair, (merged, _) in merges.items()}
        quarantined = write_quarantined(self._lake, self._batch, staged, attempts)
        kinds: tuple[tuple[str, Sequence[str], dict[str, str]], ...] = (
            ("upserts", staged.upserts, columns.staged_upserts(contract)),
            ("deletes", staged.deletes, columns.staged_deletes(contract)),
            ("kept_keys", self._kept_files(floor), columns.keys(contract)),
            ("quarantined", quarantined, QUARANTINED),
        )
        older = sorted({s for s in staged.kept_by if s != floor})
        self._digest = self._identity()
        tables = {kind: self._load_kind(kind, files, schema) for kind, files, schema in kinds if files and schema}
        loaded = sum(rows for kind, (_, rows) in tables.items() if kind in ("upserts", "deletes"))
        expected = staged.rows_in - staged.superseded - sum(q.rows for q in staged.quarantined)
        if loaded != expected:
            raise BalanceError(
                f"batch {self._batch.id}: {loaded} of {expected} staged rows were loaded; nothing was committed"
            )
        kept = [
            (s, self._load_kind(f"kept_{s}", self._kept_files(s), columns.keys(contract))[0])
            for s in older
            if contract.key
        ]
        return StagedTables(**{kind: table for kind, (table, _) in tables.items()}, older=tuple(kept))

    def _kept_files(self, snapshot: str) -> list[str]:
        """Return the staging files with keys of a snapshot's quarantined rows."""
        staged = self._staged
        by = staged.kept_by or (staged.floor,) * len(staged.kept)  # an older version of the platform kept those of one
        return [file for file, of in zip(staged.kept, by, strict=True) if of == snapshot]

    def _load_kind(self, kind: str, files: Sequence[str], schema: dict[str, str]) -> tuple[str, int]:
        if len(files) > MOST_URIS:
            raise BudgetExceeded(
                f"batch {self._batch.id}: {len(files)} staging files are too many; lower beam.batch_max_files"
            )
        name = f"{self._batch.id}-{self._digest}-{kind}"
        table = self._namespace.id("staging", name.replace("-", "_"))
        uris = [f"{self._lake.url}/{file}" for file in files]
        job = self._jobs.load(name, uris, table, [field(n, t) for n, t in schema.items()], contract=self._contract)
        return sql.quote(table), int(job.output_rows)

    def _identity(self) -> str:
        """Return the digest of staging files and columns: other files make another load, and another merge."""
        prefix = names.staging_prefix(self._batch.id, self._staged.attempt)
        files = [(o.name, o.generation) for o in self._lake.list(prefix) if not o.name.endswith(QUARANTINED_FILE)]
        quarantined = [q.model_dump() for q in self._staged.quarantined]
        shape = [self._namespace.prefix, columns.all_columns(self._contract), files, quarantined]
        return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:12]

    def _bounds(self, merge: Merge) -> str:
        """Return a condition on the target's rows; TRUE where partitions do not bound it. Raises BudgetExceeded."""
        if not self._contract.partition:
            return "TRUE"
        rows = self._jobs.rows(merging.touched(merge), step="touched", contract=self._contract)
        touched = [row[0] for row in rows]
        partitions.check(self._jobs, self._contract, self._batch.id, touched)
        return merging.within(self._contract, touched) if touched and merging.is_bounded(self._contract) else "TRUE"

    def _commit(self, merge: Merge, head: Head) -> None:
        parameters = self._parameters(head)
        unchanged = lacking.prepare(self._jobs, self._contract, self._staged, head.floor, parameters["floor"])
        self._check_budget(merge, parameters, values.estimated(merge, unchanged))
        self._jobs.query(
            f"{self._batch.id}-commit-{self._digest}",
            merging.script(*values.steps(merge, unchanged)),
            parameters,
            step="commit",
            contract=self._contract,
            holds=lambda _: self._ledger.balance(self._batch) is not None,
            most=self._contract.max_bytes_billed,
        )

    def _parameters(self, head: Head) -> dict[str, Any]:
        batch, staged = self._batch, self._staged
        new = heads.next_head(head, batch, staged, self._at)
        return {
            "batch_id": batch.id,
            "source": batch.source,
            "stream": batch.stream,
            "run_id": self._run_id,
            "at": self._at,
            "seen": batch.head_epoch,
            "connection_epoch": new.connection_epoch,
            "floor": new.floor,
            "oldest_pending_day": new.oldest_pending_day,
            "rows_in": staged.rows_in,
            "superseded": staged.superseded,
            "quarantined": sum(q.rows for q in staged.quarantined),
            "objects": [
                {"object": o.name, "generation": o.generation, "job_id": o.job_id, "rows": o.rows}
                for o in batch.objects
            ],
        }

    def _check_budget(self, merge: Merge, parameters: dict[str, Any], more: Sequence[str]) -> None:
        """Raise BudgetExceeded when a dry run, which is free, estimates more bytes than one batch may read."""
        most = self._contract.max_bytes_billed or self._jobs.max_bytes_billed
        if not most:
            return
        statements = [*merging.count_stale(merge), merging.count_merged(merge)]
        statements.append(merging.merge_rows(merge) if self._contract.key else merging.append(merge))
        statements += [*merging.revivals(merge), *merging.deletions(merge), *more]
        estimate = sum(self._jobs.estimate(statement, parameters, "commit") for statement in statements)
        if estimate > most:
            raise BudgetExceeded(
                f"batch {self._batch.id} of {self._contract.id} would read {estimate:,} bytes, more than"
                f" max_bytes_billed = {most:,} of {self._bounded_by()}; it stays pending. Raise the limit, or partition"
                " the stream by its key so that a merge reads less"
            )

    def _bounded_by(self) -> str:
        return (
            f"sources/{self._contract.source}.yaml" if self._contract.max_bytes_billed else "the warehouse's settings"
        )

    def _explain(self, error: WarehouseRefused) -> None:
        """Raise the cause of a failed transaction; return when it can be retried, or was committed after all."""
        message = str(error)
        if terms := TERMS.search(message):
            merged, stale, absent, lost = (int(term) for term in terms.groups())
            self._balance(merged, stale, absent, lost).check(self._batch.id)
        partitions.explain(self._contract, self._batch.id, message)
        if merging.MOVED in message or CONCURRENT.search(message) or self._ledger.balance(self._batch):
            return
        raise error

    def _balance(self, merged: int, stale: int, absent: int, lost: int) -> Balance:
        staged = self._staged
        return Balance(
            rows_in=staged.rows_in,
            merged=merged,
            superseded=staged.superseded + lost,
            stale=stale,
            quarantined=sum(q.rows for q in staged.quarantined),
            tombstoned_by_absence=absent,
        )

    def drop_staging(self) -> None:
        """Delete the staging tables; after a crash they expire."""
        older = sorted({f"kept_{snapshot}" for snapshot in self._staged.kept_by})
        for kind in ("upserts", "deletes", "kept_keys", "quarantined", *older):
            name = f"{self._batch.id}-{self._digest}-{kind}".replace("-", "_")
            try:
                with self._jobs.translate_errors("drop staging"):
                    self._jobs.client.delete_table(
                        self._namespace.id("staging", name), not_found_ok=True, retry=self._jobs.retry
                    )
            except MillraceError:
                return


def field(name: str, declared: str) -> Any:
    """Return a column of a load job's schema."""
    kind, _, digits = sql.staged_type(declared).partition("(")
    precision, _, scale = digits.rstrip(")").partition(", ")
    if not precision:
        return bigquery.SchemaField(name, kind)
    return bigquery.SchemaField(name, kind, precision=int(precision), scale=int(scale))


def write_quarantined(lake: Lake, batch: Batch, staged: Staged, attempts: dict[tuple[str, int], int]) -> list[str]:
    """Write quarantined rows to a staging file, each with the attempts to merge its object, including this one."""
    if not staged.quarantined:
        return []
    rows = [q.model_dump() | {"attempts": attempts.get((q.object, q.generation), 0) + 1} for q in staged.quarantined]
    schema = pa.schema([(name, ARROW[kind]) for name, kind in QUARANTINED.items()])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer)
    name = f"{names.staging_prefix(batch.id, staged.attempt)}{QUARANTINED_FILE}"
    lake.write(name, buffer.getvalue())
    return [name]
