"""The datasets and tables of a stream in BigQuery: a contract in, created and widened tables out."""

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
    """The tables of one warehouse."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._namespace = jobs, jobs.namespace
        self._is_upgraded = False

    def ensure(self, contract: StreamContract) -> None:
        """Create missing tables and columns, and widen columns. Raises ContractError."""
        self._upgrade(contract)
        stored = self.stored(contract)
        missing = {n: t for n, t in sql.table_columns(contract).items() if n not in stored}
        to_widen = columns.to_widen(contract, stored)
        if not stored:
            self._create(contract)
        elif missing:
            self._run(sql.add_columns(self._namespace, contract, missing), contract)
        for name, kind in to_widen.items():
            self._widen(contract, name, stored[name], kind)
        if not stored or missing or to_widen:
            self._create_view(contract)

    def migrate(self, contract: StreamContract, check: Callable[[], None]) -> dict[str, str]:
        """Change types, by a copy where `ALTER` can't; `check` raises when the table has changed meanwhile."""
        stored = self.stored(contract)
        to_change = columns.to_widen(contract, stored, migrating=True)
        copied = {n: kind for n, kind in to_change.items() if not _is_alterable(stored[n], kind)}
        for name, kind in to_change.items():
            if name not in copied:
                self._widen(contract, name, stored[name], kind)
        if copied:
            self._copy(contract, stored, copied, check)
        if to_change:
            self._create_view(contract)
        if stored:
            self._cluster(contract.source, contract.stream, sql.cluster_columns(contract))
        return to_change

    def _copy(
        self, contract: StreamContract, stored: dict[str, str], copied: dict[str, str], check: Callable[[], None]
    ) -> None:
        """Replace the table by a converted copy; drop the copy in the end.

        The copy's rows are sorted as the contract says. BigQuery replaces a table only by one that is declared with the
        same clustering: so the copy is then declared with the table's, and `migrate` changes that of the table last.
        """
        copied_to = names.migrating_table(contract.stream)
        copy = self._namespace.table(names.raw_schema(contract.source), copied_to)
        self._run(sql.copy_converted(self._namespace, contract, copy, stored, copied), contract)
        try:
            check()
            self._cluster(contract.source, copied_to, self._clustering(contract.source, contract.stream))
            self._run(f"CREATE OR REPLACE TABLE {self._namespace.raw(contract)} COPY {copy}", contract)
        finally:
            self._run(f"DROP TABLE {copy}", contract)

    def _clustering(self, source: str, table: str) -> list[str]:
        """Return the columns that a table is declared to be clustered by."""
        return list(self._described(source, table).clustering_fields or [])

    def _cluster(self, source: str, table: str, chosen: list[str]) -> None:
        """Change the columns that a table is declared to be clustered by; no row is read or written."""
        described = self._described(source, table)
        if list(described.clustering_fields or []) != chosen:
            described.clustering_fields = chosen or None
            self._jobs.client.update_table(described, ["clustering_fields"], retry=self._jobs.retry)

    def _described(self, source: str, table: str) -> Any:
        return self._jobs.client.get_table(self._namespace.id(names.raw_schema(source), table), retry=self._jobs.retry)

    def _upgrade(self, contract: StreamContract) -> None:
        """Add columns that an older version of the platform did not create; check its own tables once per process."""
        head = {field.name for field in self.fields("ops", names.head_table(contract.source, contract.stream))}
        if head and (lacking := [name for name in Head.model_fields if name not in head]):
            self._run(sql.add_to_head(self._namespace, contract, lacking), contract)
        if self._is_upgraded:
            return
        existing = {table: {field.name for field in self.fields("ops", table)} for table in sql.OPS_TABLES}
        if existing["ledger"] and not all(existing.values()):
            self.create_ops()
        for table, kinds in sql.own_columns().items():
            if existing[table] and (missing := {n: kind for n, kind in kinds.items() if n not in existing[table]}):
                self._run(sql.add_own_columns(self._namespace, table, missing), None)
        self._is_upgraded = True

    def stored(self, contract: StreamContract) -> dict[str, str]:
        """Return the columns of the raw table with their contract types; none when the stream has no tables yet."""
        raw = self.fields(names.raw_schema(contract.source), contract.stream)
        view = raw and self.fields(names.raw_schema(contract.source), names.live_view(contract.stream))
        head = raw and self.fields("ops", names.head_table(contract.source, contract.stream))
        if not view or not head or not set(Head.model_fields) <= {f.name for f in head}:
            return {}
        return {f.name: sql.contract_type(f.field_type, f.precision, f.scale) for f in raw}

    def missing_columns(self, contract: StreamContract) -> list[str] | None:
        """Return the columns of a contract that its table lacks; None when there is no table, view or head."""
        stored = self.stored(contract)
        return [name for name in sql.table_columns(contract) if name not in stored] if stored else None

    def evolved_columns(self, contract: StreamContract) -> dict[str, Column]:
        """Return columns of the table that the contract lacks, or declares with a narrower type."""
        stored = self.stored(contract)
        return columns.evolved_columns(contract, {name: kind for name, kind in stored.items() if name != sql.BUCKET})

    def fields(self, schema: str, table: str) -> list[Any]:
        """Return the columns of a table, as the API describes them; none when the table does not exist."""
        try:
            return list(self._jobs.client.get_table(self._namespace.id(schema, table), retry=self._jobs.retry).schema)
        except exceptions.NotFound:
            return []

    def create_dataset(self, schema: str, expiration_ms: int | None = None) -> None:
        """Create a dataset, unless it exists; its tables expire after `expiration_ms`.

        BigQuery rejects a creation for lack of `bigquery.datasets.create` before it looks whether the dataset exists,
        and few accounts hold that permission: so look first.
        """
        dataset = bigquery.Dataset(f"{self._namespace.project}.{self._namespace.dataset(schema)}")
        with self._jobs.translate_errors(f"look for dataset {dataset.dataset_id}"):
            try:
                self._jobs.client.get_dataset(dataset.reference, retry=self._jobs.retry)
            except (exceptions.NotFound, exceptions.Forbidden):
                pass  # an account without rights on a dataset may be told either when there is none
            else:
                return
        dataset.location = self._namespace.location
        dataset.default_table_expiration_ms = expiration_ms
        with self._jobs.translate_errors(f"create dataset {dataset.dataset_id}"):
            self._jobs.client.create_dataset(dataset, exists_ok=True, retry=self._jobs.retry)

    def _create(self, contract: StreamContract) -> None:
        self.create_dataset(names.raw_schema(contract.source))
        self.create_dataset("staging", STAGING_MS)
        self.create_ops()
        self._run(sql.create_table(self._namespace, contract), contract)

    def create_ops(self) -> None:
        """Create the platform's own tables: ledger, quarantine, publications and results of the gate."""
        self.create_dataset("ops")
        self._run(sql.create_ops(self._namespace), None)

    def _widen(self, contract: StreamContract, name: str, stored: str, kind: str) -> None:
        if not _is_alterable(stored, kind):
            raise ContractError(
                f"{contract.id}: column {name} is {stored} in the table and should become {kind}, which BigQuery"
                " can't change in place; write the new type into the contract and run migrate, or set"
                " `type_changes: quarantine`"
            )
        if kind == "float64":
            query = f"SELECT COUNT(*) FROM {self._namespace.raw(contract)} WHERE ABS({sql.quote(name)}) > {EXACT_INT}"  # noqa: S608
            ((inexact,),) = self._jobs.rows(query, step="widen", contract=contract)
            columns.check_exact(contract, name, int(inexact))
        self._run(sql.set_type(self._namespace, contract, name, kind), contract)

    def _create_view(self, contract: StreamContract) -> None:
        """Create the view of live rows, with all columns of the table."""
        declared = sql.table_columns(contract)
        stored = [f.name for f in self.fields(names.raw_schema(contract.source), contract.stream)]
        self._run(sql.create_view(self._namespace, contract, [n for n in stored if n not in declared]), contract)

    def _run(self, statements: str, contract: StreamContract | None) -> None:
        self._jobs.rows(statements, step="prepare", contract=contract)


def _is_alterable(stored: str, kind: str) -> bool:
    return stored.startswith(ALTERABLE) and kind != "string"
