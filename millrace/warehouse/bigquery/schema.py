"""The datasets and tables of a stream in BigQuery: made, and widened when contract or files bring more."""

from collections.abc import Callable
from typing import Any

from google.api_core import exceptions
from google.cloud import bigquery

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.errors import ContractError
from millrace.domain.ledger import Head
from millrace.domain.types import Column
from millrace.warehouse import columns
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.bigquery.jobs import Jobs

EXACT_INT = 1 << 53
STAGING_MS = 3 * 24 * 3600 * 1000
ALTERABLE = ("int64", "decimal")  # https://cloud.google.com/bigquery/docs/managing-table-schemas#change_column_type


class Schema:
    """Tables at one place."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._place = jobs, jobs.place
        self._followed = False

    def ensure(self, contract: StreamContract) -> None:
        """Make what is missing and widen what is too narrow. Raises ContractError."""
        self._follow(contract)
        there = self.stored(contract)
        missing = {n: t for n, t in sql.table_columns(contract).items() if n not in there}
        to_widen = columns.to_widen(contract, there)
        if not there:
            self._make(contract)
        elif missing:
            self._run(sql.add_columns(self._place, contract, missing), contract)
        for name, kind in to_widen.items():
            self._widen(contract, name, there[name], kind)
        if not there or missing or to_widen:
            self._show(contract)

    def migrate(self, contract: StreamContract, still: Callable[[], None]) -> dict[str, str]:
        """Change types, by a copy where `ALTER` can't; `still` raises when the table has changed meanwhile."""
        there = self.stored(contract)
        to_change = columns.to_widen(contract, there, migrating=True)
        copied = {n: kind for n, kind in to_change.items() if not _is_alterable(there[n], kind)}
        for name, kind in to_change.items():
            if name not in copied:
                self._widen(contract, name, there[name], kind)
        if copied:
            self._copy(contract, there, copied, still)
        if to_change:
            self._show(contract)
        return to_change

    def _copy(
        self, contract: StreamContract, there: dict[str, str], copied: dict[str, str], still: Callable[[], None]
    ) -> None:
        """Put a converted copy in the table's place; one that can't be put there is dropped."""
        aside = self._place.table(names.raw_schema(contract.source), f"{contract.stream}__migrating")
        self._run(sql.copy_converted(self._place, contract, aside, there, copied), contract)
        try:
            still()
            self._run(f"CREATE OR REPLACE TABLE {self._place.raw(contract)} COPY {aside}", contract)
        finally:
            self._run(f"DROP TABLE {aside}", contract)

    def _follow(self, contract: StreamContract) -> None:
        """Add what head and ledger lack, made by an older version; the latter is looked at once a process."""
        head = {field.name for field in self.fields("ops", names.head_table(contract.source, contract.stream))}
        if head and (lacking := [name for name in Head.model_fields if name not in head]):
            self._run(sql.add_to_head(self._place, contract, lacking), contract)
        if self._followed:
            return
        found = {table: {field.name for field in self.fields("ops", table)} for table in sql.OPS_TABLES}
        if found["ledger"] and not all(found.values()):
            self.make_ops()
        for table, wanted in sql.own_columns().items():
            if found[table] and (missing := {n: kind for n, kind in wanted.items() if n not in found[table]}):
                self._run(sql.add_own_columns(self._place, table, missing), None)
        self._followed = True

    def stored(self, contract: StreamContract) -> dict[str, str]:
        """Columns of the raw table with their contract types; none when the stream was never prepared."""
        raw = self.fields(names.raw_schema(contract.source), contract.stream)
        view = raw and self.fields(names.raw_schema(contract.source), names.live_view(contract.stream))
        head = raw and self.fields("ops", names.head_table(contract.source, contract.stream))
        if not view or not head or not set(Head.model_fields) <= {f.name for f in head}:
            return {}
        return {f.name: sql.contract_type(f.field_type, f.precision, f.scale) for f in raw}

    def learned(self, contract: StreamContract) -> dict[str, Column]:
        """Columns that the table has and the contract lacks, or has with a narrower type."""
        there = self.stored(contract)
        return columns.learned(contract, {name: kind for name, kind in there.items() if name != sql.BUCKET})

    def fields(self, schema: str, table: str) -> list[Any]:
        """Columns of a table, as the API describes them; none when there is no table."""
        try:
            return list(self._jobs.client.get_table(self._place.id(schema, table), retry=self._jobs.retry).schema)
        except exceptions.NotFound:
            return []

    def make_dataset(self, schema: str, expiration_ms: int | None = None) -> None:
        """A dataset at the place, unless it is there; its tables expire after `expiration_ms`."""
        dataset = bigquery.Dataset(f"{self._place.project}.{self._place.dataset(schema)}")
        dataset.location = self._place.location
        dataset.default_table_expiration_ms = expiration_ms
        with self._jobs.answering(f"make dataset {dataset.dataset_id}"):
            self._jobs.client.create_dataset(dataset, exists_ok=True, retry=self._jobs.retry)

    def _make(self, contract: StreamContract) -> None:
        self.make_dataset(names.raw_schema(contract.source))
        self.make_dataset("staging", STAGING_MS)
        self.make_ops()
        self._run(sql.create_table(self._place, contract), contract)

    def make_ops(self) -> None:
        """The ledger and its like."""
        self.make_dataset("ops")
        self._run(sql.create_ops(self._place), None)

    def _widen(self, contract: StreamContract, name: str, stored: str, kind: str) -> None:
        if not _is_alterable(stored, kind):
            raise ContractError(
                f"{contract.id}: column {name} is {stored} in the table and should become {kind}, which BigQuery does"
                " not do in place; write the new type into the contract and run migrate, or set"
                " `type_changes: quarantine`"
            )
        if kind == "float64":
            bent = f"SELECT COUNT(*) FROM {self._place.raw(contract)} WHERE ABS({sql.quote(name)}) > {EXACT_INT}"  # noqa: S608
            columns.refuse_inexact(contract, name, int(self._jobs.rows(bent, step="widen", contract=contract)[0][0]))
        self._run(sql.set_type(self._place, contract, name, kind), contract)

    def _show(self, contract: StreamContract) -> None:
        """Make the view of live rows, with all columns that the table has."""
        known = sql.table_columns(contract)
        there = [f.name for f in self.fields(names.raw_schema(contract.source), contract.stream)]
        self._run(sql.create_view(self._place, contract, [n for n in there if n not in known]), contract)

    def _run(self, statements: str, contract: StreamContract | None) -> None:
        self._jobs.rows(statements, step="prepare", contract=contract)


def _is_alterable(stored: str, kind: str) -> bool:
    return stored.startswith(ALTERABLE) and kind != "string"
