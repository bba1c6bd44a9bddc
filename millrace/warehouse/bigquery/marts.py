"""The marts in BigQuery: a candidate dataset in, whose tables replace those that readers query.

BigQuery has no DDL in transactions. So tables are replaced one by one, in the order in which dbt built them, and a
journal that is written first lets another process complete a publication (`publications.py`). Of several candidates
with one base only one passes. Tables and views that no publication made are never replaced or dropped.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from google.api_core import exceptions

from millrace.access import is_anonymous
from millrace.domain.errors import CandidateMissing, SettingsError, WarehouseRefused
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.publications import BEGUN, COPIED, DONE, DROPPED, PLANNED, Journal
from millrace.warehouse.bigquery.schema import Schema

DAY_MS = 24 * 3600 * 1000
LEAST_MS = 3600 * 1000  # the shortest expiry of a dataset
TABLE, VIEW = "TABLE", "VIEW"


class Marts:
    """The candidates and marts of one warehouse."""

    def __init__(self, jobs: Jobs, marts_url: str, endpoint: str, max_bytes_billed: int, keep_days: float) -> None:
        self._keep_ms = max(LEAST_MS, int(keep_days * DAY_MS))
        self._jobs, self._namespace, self._schema = jobs, jobs.namespace, Schema(jobs)
        self._journal = Journal(jobs)
        self._endpoint, self._max_bytes_billed = endpoint, max_bytes_billed
        self._marts = dataset_of(marts_url, self._namespace)

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Return variables that make dbt read this warehouse and build into a candidate."""
        self._schema.create_dataset(candidate, self._keep_ms)
        return self._environment(candidate)

    def published_environment(self, _: Path) -> dict[str, str]:
        """Return variables that make dbt read this warehouse and the published marts."""
        return self._environment(self._marts)

    def _environment(self, schema: str) -> dict[str, str]:
        return {
            "MILLRACE_DBT_TARGET": "bigquery",
            "MILLRACE_BIGQUERY_PROJECT": self._namespace.project,
            "MILLRACE_BIGQUERY_LOCATION": self._namespace.location,
            "MILLRACE_BIGQUERY_ENDPOINT": self._endpoint,
            "MILLRACE_BIGQUERY_ANONYMOUS": "yes" if is_anonymous(self._endpoint) else "",
            "MILLRACE_BIGQUERY_PREFIX": self._namespace.prefix,
            "MILLRACE_WAREHOUSE__MAX_BYTES_BILLED": str(self._max_bytes_billed),
            "MILLRACE_CANDIDATE_DATASET": self._namespace.dataset(schema),
        }

    def candidate_url(self, candidate: str) -> str:
        """Return the URL under which the quality gate opens a candidate."""
        return self.url(candidate)

    def url(self, schema: str) -> str:
        """Return the SQLAlchemy URL of a dataset, with the address of a server other than Google's."""
        query = f"?endpoint={quote_plus(self._endpoint)}" if self._endpoint else ""
        return f"{sql.SCHEME}{self._namespace.project}/{self._namespace.dataset(schema)}{query}"

    def begin_candidate(self, candidate: str, *, empty: bool) -> None:
        """Create a candidate of clones of the published marts, or an empty one; no row is copied.

        Its base is read first: if other marts are published while these are cloned, the candidate can't be published.
        """
        self._schema.create_ops()
        base = self._journal.published()
        dataset = f"{self._namespace.project}.{self._namespace.dataset(candidate)}"
        with self._jobs.translate_errors(f"begin {candidate}"):
            self._jobs.client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)
        self._schema.create_dataset(candidate, self._keep_ms)
        if not empty:
            kinds, own = self._kinds(self._marts), self._journal.own()
            self._clone(candidate, {name: kind for name, kind in kinds.items() if name in own})
        self._journal.note(candidate, BEGUN, [base])

    def _clone(self, candidate: str, kinds: Mapping[str, str]) -> None:
        """Clone marts into a candidate, tables before the views over them."""
        for name in [n for n, kind in kinds.items() if kind == TABLE]:
            target, source = self._namespace.table(candidate, name), self._namespace.table(self._marts, name)
            self._jobs.rows(f"CREATE TABLE {target} CLONE {source}", step="begin")
        for name in [n for n, kind in kinds.items() if kind == VIEW]:
            self._copy_view(self._marts, candidate, name)

    def restore(self, candidate: str, tables: Collection[str], known: Collection[str] | None) -> None:
        """Make tables and views of a candidate what is published: clones of the marts, so that no row is copied.

        Nothing happens once the candidate is published, as its dataset may be gone.
        """
        self._schema.create_ops()
        if DONE in self._journal.steps(candidate):
            return
        there, own, published = self._kinds(candidate), self._journal.own(), self._kinds(self._marts)
        made = {name: kind for name, kind in published.items() if name in own}
        names = {*tables, *(name for name in made if known is not None and name not in known)}
        replaced = {name for name in names if there.get(name) == made.get(name) == VIEW}  # by `_copy_view`
        for kind in (VIEW, TABLE):
            for name in sorted(name for name in names - replaced if there.get(name) == kind):
                self._jobs.rows(f"DROP {kind} IF EXISTS {self._namespace.table(candidate, name)}", step="begin")
        self._clone(candidate, {name: kind for name, kind in made.items() if name in names})

    def rows(self) -> dict[str, int]:
        """Return rows per mart, as readers see them now."""
        tables = [name for name, kind in self._kinds(self._marts).items() if kind == TABLE]
        own = self._journal.own() if tables else set[str]()
        return {name: self._count(self._namespace.dataset(self._marts), name) for name in tables if name in own}

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace each mart by the candidate's, in the order in which dbt built them; return rows per mart.

        Again: continues an interrupted publication, or changes nothing.

        Raises:
            CandidateMissing: the candidate does not exist, and was not published.
            MartsMoved: other marts were published since the candidate was begun.
            WarehouseRefused: the dataset of the marts has a table of a mart's name that no publication made.
        """
        self._schema.create_ops()
        self._schema.create_dataset(self._marts)
        steps = self._journal.steps(candidate)
        if DONE not in steps:
            planned = self._plan(candidate, steps)
            for ordinal, name in enumerate(planned):
                if name not in steps.get(COPIED, []):
                    self._copy(candidate, name)
                    self._journal.note(candidate, COPIED, [name], ordinal)
            self._drop_others(candidate, planned)
            self._journal.note(candidate, DONE, [""], len(planned))
        return self.rows()

    def _plan(self, candidate: str, steps: dict[str, list[str]]) -> list[str]:
        """Claim the marts for a candidate, and return its tables and views, which are then in the journal."""
        base = steps.get(BEGUN, [""])[-1]
        if PLANNED in steps:
            self._journal.claim(candidate, base)
            return steps[PLANNED]
        kinds = self._kinds(candidate)
        planned = [*(n for n in kinds if kinds[n] == TABLE), *(n for n in kinds if kinds[n] == VIEW)]
        if not planned:
            raise CandidateMissing(
                f"{candidate} is neither a candidate with tables nor what is published; run model again"
            )
        if strange := sorted(set(planned) & self._all_names(self._marts) - self._journal.own()):
            raise WarehouseRefused(
                f"the dataset {self._namespace.dataset(self._marts)} has {', '.join(strange)}, which no publication"
                " made, and a mart has the same name; rename or drop what is there, or rename the model"
            )
        self._journal.claim(candidate, base)
        self._journal.note(candidate, PLANNED, planned)
        return planned

    def _copy_view(self, source: str, target: str, name: str) -> None:
        """Create a view of one dataset in another dataset, over the tables of the latter."""
        with self._jobs.translate_errors(f"read the view {name}"):
            query = str(self._jobs.client.get_table(self._namespace.id(source, name)).view_query)
        for mark in (".", "`.`"):
            query = query.replace(
                f"{self._namespace.project}{mark}{self._namespace.dataset(source)}{mark}",
                f"{self._namespace.project}{mark}{self._namespace.dataset(target)}{mark}",
            )
        self._jobs.rows(f"CREATE OR REPLACE VIEW {self._namespace.table(target, name)} AS {query}", step="publish")

    def _copy(self, candidate: str, name: str) -> None:
        """Replace one mart; no row is read, and readers see the old table or the new one.

        BigQuery replaces a table only by one of the same partitions and clustering, and a view only by a view. So a
        mart of another layout is dropped first: for a moment readers do not find it.
        """
        source, old = self._described(candidate, name), self._described(self._marts, name)
        if source is None:
            raise CandidateMissing(f"{candidate} has lost {name}, which was not published yet; run model again")
        if old is not None and _layout(old) != _layout(source):
            self._drop(name, str(old.table_type))
        if source.table_type == VIEW:
            self._copy_view(candidate, self._marts, name)
            return
        target, copied = self._namespace.table(self._marts, name), self._namespace.table(candidate, name)
        self._jobs.rows(f"CREATE OR REPLACE TABLE {target} COPY {copied}", step="publish")
        self._remove_expiry(name)

    def _described(self, dataset: str, name: str) -> Any:
        """Return a table or view as the API describes it, None if there is none."""
        with self._jobs.translate_errors(f"read {dataset}.{name}"):
            try:
                return self._jobs.client.get_table(self._namespace.id(dataset, name), retry=self._jobs.retry)
            except exceptions.NotFound:
                return None

    def _drop(self, name: str, kind: str) -> None:
        self._jobs.rows(f"DROP {kind} IF EXISTS {self._namespace.table(self._marts, name)}", step="publish")

    def _remove_expiry(self, name: str) -> None:
        """Remove the expiry that a mart inherits from its candidate."""
        with self._jobs.translate_errors(f"publish {name}"):
            table = self._jobs.client.get_table(self._namespace.id(self._marts, name), retry=self._jobs.retry)
            if table.expires is not None:
                table.expires = None
                self._jobs.client.update_table(table, ["expires"], retry=self._jobs.retry)

    def _drop_others(self, candidate: str, planned: list[str]) -> None:
        """Drop marts that publications made and this one does not have, and remember that they are no longer ours."""
        kinds, others = self._kinds(self._marts), sorted(self._journal.own() - set(planned))
        for kind in (VIEW, TABLE):
            for name in others:
                if kinds.get(name) == kind:
                    self._drop(name, kind)
        self._journal.note(candidate, DROPPED, others)

    def _kinds(self, dataset: str) -> dict[str, str]:
        """Return tables and views of a dataset with their kind, oldest first: dbt builds a table before its users."""
        return {t.table_id: t.table_type for t in self._listed(dataset) if t.table_type in (TABLE, VIEW)}

    def _all_names(self, dataset: str) -> set[str]:
        return {t.table_id for t in self._listed(dataset)}

    def _listed(self, dataset: str) -> list[Any]:
        with self._jobs.translate_errors(f"list {dataset}"):
            try:
                parent = f"{self._namespace.project}.{self._namespace.dataset(dataset)}"
                listed = list(self._jobs.client.list_tables(parent, retry=self._jobs.retry))
            except exceptions.NotFound:
                return []
        return sorted(listed, key=lambda t: (t.created, t.table_id))

    def _count(self, dataset: str, name: str) -> int:
        with self._jobs.translate_errors(f"count {name}"):
            table = self._jobs.client.get_table(f"{self._namespace.project}.{dataset}.{name}", retry=self._jobs.retry)
            return int(table.num_rows)


def _layout(table: Any) -> tuple[Any, ...]:
    """Return what must be the same of a table, as the API describes it, and of the one that replaces it."""
    days, numbers = table.time_partitioning, table.range_partitioning
    return (
        table.table_type,
        (days.type_, days.field) if days else None,
        numbers.to_api_repr() if numbers else None,
        tuple(table.clustering_fields or ()),
    )


def dataset_of(marts_url: str, namespace: sql.Namespace) -> str:
    """Return the dataset of the marts that `bigquery://<project>/<dataset>` names. Raises SettingsError."""
    project, dataset = sql.split_url(marts_url)
    if not marts_url.startswith(sql.SCHEME) or project != namespace.project or not dataset:
        raise SettingsError(
            f"warehouse.marts_url is {marts_url!r}; expected {sql.SCHEME}{namespace.project}/<dataset>, in the project"
            " of the warehouse"
        )
    return dataset
