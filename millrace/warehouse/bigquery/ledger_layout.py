"""A ledger that an older version of the platform created in; the same ledger with a partition per day out.

BigQuery can't give partitions to a table, nor replace it by one that has them. So the ledger is copied, renamed and its
copy renamed to it. Each step is found by looking at the tables, so that another process continues after a death, and
facts that were written meanwhile are copied in the end: the older table is kept for 30 days, in case one came later.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api_core import exceptions

from millrace.domain.errors import WarehouseRefused
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.bigquery.jobs import Jobs

COPY, OLDER = "ledger_by_day", "ledger_unpartitioned"
KEPT = timedelta(days=30)
MOST_STEPS = 12
FACTS = f"{sql.LEDGER_COLUMNS}, written_at, place"
COPY_LEDGER = f"""
CREATE TABLE {{copy}} ({{columns}}) {sql.LEDGER_LAYOUT} AS SELECT {FACTS} FROM {{ledger}}
"""  # noqa: S608
ADD_REST = f"""
INSERT INTO {{ledger}} ({FACTS}) SELECT {", ".join(f"o.{name.strip()}" for name in FACTS.split(","))} FROM {{older}} o
LEFT JOIN (SELECT DISTINCT kind, batch_id, run_id FROM {{ledger}} WHERE `at` >= TIMESTAMP '0001-01-01') l
ON l.kind = o.kind AND l.batch_id = o.batch_id AND l.run_id = o.run_id WHERE l.kind IS NULL
"""  # noqa: S608


@dataclass(frozen=True)
class Step:
    """A statement; with a name, which identifies its job, it runs once."""

    statement: str
    name: str = ""


class LedgerLayout:
    """The layout of the ledger of one warehouse; it is looked at once per process."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._namespace = jobs, jobs.namespace
        self._is_right = False

    def ensure(self) -> None:
        """Give the ledger partitions, unless it has them or does not exist.

        Raises:
            WarehouseRefused: BigQuery rejected a step; the next call continues.
        """
        refused: WarehouseRefused | None = None
        for _ in range(0 if self._is_right else MOST_STEPS):
            ledger, copy, older = (self._table(name) for name in ("ledger", COPY, OLDER))
            step = self._next_step(ledger, copy, older)
            if step is None:
                self._is_right = True
                return
            try:
                self._run(step)
                if older is not None and step.name:
                    self._expire(older)
            except WarehouseRefused as error:  # perhaps another process did this step first: look again
                refused = error
        if refused and not self._is_right:
            raise refused

    def _next_step(self, ledger: Any, copy: Any, older: Any) -> Step | None:
        """Return what is to be done, by the tables that exist; None when the layout is right."""
        if ledger is None:
            return Step(f"ALTER TABLE {self._sql(COPY)} RENAME TO ledger") if copy and older else None
        if ledger.time_partitioning is None and older is None:
            if copy is None:
                return Step(self._statement(COPY_LEDGER))
            return Step(f"ALTER TABLE {self._sql('ledger')} RENAME TO {OLDER}")
        if copy is not None:
            return Step(f"DROP TABLE IF EXISTS {self._sql(COPY)}")
        if older is not None and older.expires is None:
            return Step(self._statement(ADD_REST), f"copy-ledger-{self._namespace.prefix}{older.created:%Y%m%d%H%M%S}")
        return None

    def _run(self, step: Step) -> None:
        if step.name:
            self._jobs.query(step.name, step.statement, step="prepare", holds=lambda _: True)
        else:
            self._jobs.rows(step.statement, step="prepare")

    def _expire(self, older: Any) -> None:
        with self._jobs.translate_errors(f"keep {OLDER} for {KEPT.days} days"):
            older.expires = datetime.now(UTC) + KEPT
            self._jobs.client.update_table(older, ["expires"], retry=self._jobs.retry)

    def _table(self, name: str) -> Any:
        with self._jobs.translate_errors(f"find {name}"):
            try:
                return self._jobs.client.get_table(self._namespace.id("ops", name), retry=self._jobs.retry)
            except exceptions.NotFound:
                return None

    def _sql(self, name: str) -> str:
        return self._namespace.ops(name)

    def _statement(self, template: str) -> str:
        names = {"ledger": self._sql("ledger"), "copy": self._sql(COPY), "older": self._sql(OLDER)}
        return template.format(**names, columns=sql.LEDGER_SCHEMA)
