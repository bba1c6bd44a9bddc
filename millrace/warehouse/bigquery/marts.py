"""The marts in BigQuery: a candidate dataset in, whose tables replace those that readers query.

BigQuery has no DDL in transactions. So tables are replaced one by one, in the order in which dbt built them, and a
journal that is written first lets another process complete a publication. `ops.published` has one row, the candidate
that the marts are or become; an UPDATE that names the base of a candidate lets only one of several candidates pass.
"""

from urllib.parse import quote_plus

from google.api_core import exceptions

from millrace.domain.errors import CandidateMissing, MartsMoved, SettingsError, WarehouseRefused
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.schema import Schema

DAY_MS = 24 * 3600 * 1000
LEAST_MS = 3600 * 1000  # the shortest expiry of a dataset
BEGUN, PLANNED, COPIED, DROPPED, DONE = "begun", "planned", "copied", "dropped", "done"


class Marts:
    """The candidates and marts of one warehouse."""

    def __init__(self, jobs: Jobs, marts_url: str, endpoint: str, max_bytes_billed: int, keep_days: float) -> None:
        self._keep_ms = max(LEAST_MS, int(keep_days * DAY_MS))
        self._jobs, self._namespace, self._schema = jobs, jobs.namespace, Schema(jobs)
        self._endpoint, self._max_bytes_billed = endpoint, max_bytes_billed
        self._marts = dataset_of(marts_url, self._namespace)

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Return variables that make dbt read this warehouse and build into a candidate."""
        self._schema.create_dataset(candidate, self._keep_ms)
        return {
            "MILLRACE_DBT_TARGET": "bigquery",
            "MILLRACE_BIGQUERY_PROJECT": self._namespace.project,
            "MILLRACE_BIGQUERY_LOCATION": self._namespace.location,
            "MILLRACE_BIGQUERY_ENDPOINT": self._endpoint,
            "MILLRACE_BIGQUERY_PREFIX": self._namespace.prefix,
            "MILLRACE_WAREHOUSE__MAX_BYTES_BILLED": str(self._max_bytes_billed),
            "MILLRACE_CANDIDATE_DATASET": self._namespace.dataset(candidate),
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
        base = self._published()
        dataset = f"{self._namespace.project}.{self._namespace.dataset(candidate)}"
        with self._jobs.translate_errors(f"begin {candidate}"):
            self._jobs.client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)
        self._schema.create_dataset(candidate, self._keep_ms)
        if not empty:
            self._clone(candidate)
        self._note(candidate, BEGUN, [base])

    def _clone(self, candidate: str) -> None:
        for name in self._tables(self._marts):
            target, source = self._namespace.table(candidate, name), self._namespace.table(self._marts, name)
            self._jobs.rows(f"CREATE TABLE {target} CLONE {source}", step="begin")
        for name in self._views(self._marts):
            self._copy_view(self._marts, candidate, name)

    def rows(self) -> dict[str, int]:
        """Return rows per mart, as readers see them now."""
        return {name: self._count(self._namespace.dataset(self._marts), name) for name in self._tables(self._marts)}

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace each mart by the candidate's, in the order in which dbt built them; return rows per mart.

        Again: continues an interrupted publication, or changes nothing.

        Raises:
            CandidateMissing: the candidate does not exist, and was not published.
            MartsMoved: other marts were published since the candidate was begun.
        """
        self._schema.create_ops()
        self._schema.create_dataset(self._marts)
        journal = self._journal(candidate)
        if DONE not in journal:
            built = journal.get(PLANNED) or self._built(candidate)
            self._claim(candidate, journal.get(BEGUN, [""])[-1])
            planned = journal.get(PLANNED) or self._plan(candidate, built)
            for ordinal, name in enumerate(planned):
                if name not in journal.get(COPIED, []):
                    self._copy(candidate, name)
                    self._note(candidate, COPIED, [name], ordinal)
            self._drop_others(candidate, planned)
            self._note(candidate, DONE, [""], len(planned))
        return self.rows()

    def _published(self) -> str:
        """Return the candidate that the marts are or become; empty when none was published."""
        ((candidate,),) = self._jobs.rows(f"SELECT candidate FROM {self._namespace.ops('published')}", step="publish")  # noqa: S608
        return str(candidate)

    def _claim(self, candidate: str, base: str) -> None:
        """Register as the successor of the base, which only one candidate can; again changes nothing.

        Of two UPDATEs of the row at a time BigQuery may abort one: the row then decides, not the error.
        """
        swap = f"UPDATE {self._namespace.ops('published')} SET candidate = @candidate WHERE candidate = @base"  # noqa: S608
        try:
            self._jobs.rows(swap, {"candidate": candidate, "base": base}, step="publish")
        except WarehouseRefused:
            if self._published() == base:
                raise
        published = self._published()
        if published != candidate:
            raise MartsMoved(
                f"{candidate} was begun from {base or 'no marts'}, but {published or 'nothing'} is published now:"
                " it would revert that publication; run model again"
            )

    def _built(self, candidate: str) -> list[str]:
        tables = [*self._tables(candidate), *self._views(candidate)]
        if not tables:
            raise CandidateMissing(
                f"{candidate} is neither a candidate with tables nor what is published; run model again"
            )
        return tables

    def _plan(self, candidate: str, tables: list[str]) -> list[str]:
        self._note(candidate, PLANNED, tables)
        return tables

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
        """Replace one mart; no row is read, and readers see the old table or the new one."""
        if name in self._views(candidate):
            self._copy_view(candidate, self._marts, name)
            return
        target, source = self._namespace.table(self._marts, name), self._namespace.table(candidate, name)
        self._jobs.rows(f"CREATE OR REPLACE TABLE {target} COPY {source}", step="publish")
        self._remove_expiry(name)

    def _remove_expiry(self, name: str) -> None:
        """Remove the expiry that a mart inherits from its candidate."""
        with self._jobs.translate_errors(f"publish {name}"):
            table = self._jobs.client.get_table(self._namespace.id(self._marts, name), retry=self._jobs.retry)
            if table.expires is not None:
                table.expires = None
                self._jobs.client.update_table(table, ["expires"], retry=self._jobs.retry)

    def _drop_others(self, candidate: str, planned: list[str]) -> None:
        for name in set(self._views(self._marts)) - set(planned):
            self._jobs.rows(f"DROP VIEW IF EXISTS {self._namespace.table(self._marts, name)}", step="publish")
            self._note(candidate, DROPPED, [name])
        for name in set(self._tables(self._marts)) - set(planned):
            self._jobs.rows(f"DROP TABLE IF EXISTS {self._namespace.table(self._marts, name)}", step="publish")
            self._note(candidate, DROPPED, [name])

    def _tables(self, dataset: str) -> list[str]:
        """Return tables of a dataset, oldest first: dbt builds a table before those that depend on it."""
        return self._names_of(dataset, "TABLE")

    def _views(self, dataset: str) -> list[str]:
        return self._names_of(dataset, "VIEW")

    def _names_of(self, dataset: str, kind: str) -> list[str]:
        with self._jobs.translate_errors(f"list {dataset}"):
            try:
                parent = f"{self._namespace.project}.{self._namespace.dataset(dataset)}"
                listed = list(self._jobs.client.list_tables(parent, retry=self._jobs.retry))
            except exceptions.NotFound:
                return []
        return [t.table_id for t in sorted(listed, key=lambda t: (t.created, t.table_id)) if t.table_type == kind]

    def _count(self, dataset: str, name: str) -> int:
        with self._jobs.translate_errors(f"count {name}"):
            table = self._jobs.client.get_table(f"{self._namespace.project}.{dataset}.{name}", retry=self._jobs.retry)
            return int(table.num_rows)

    def _journal(self, candidate: str) -> dict[str, list[str]]:
        """Return the journal of a publication, by step."""
        query = (
            f"SELECT step, mart FROM {self._namespace.ops('publications')} WHERE candidate = @candidate"  # noqa: S608
            " ORDER BY place, written_at"
        )
        journal: dict[str, list[str]] = {}
        for step, mart in self._jobs.rows(query, {"candidate": candidate}, step="publish"):
            journal.setdefault(str(step), []).append(str(mart))
        return journal

    def _note(self, candidate: str, step: str, marts: list[str], first: int = 0) -> None:
        values = {
            "candidate": candidate,
            "step": step,
            "marts": [{"mart": mart, "place": first + i} for i, mart in enumerate(marts)],
        }
        query = (
            f"INSERT INTO {self._namespace.ops('publications')} (candidate, mart, place, step, written_at)"  # noqa: S608
            " SELECT @candidate, m.mart, m.place, @step, CURRENT_TIMESTAMP() FROM UNNEST(@marts) m"
        )
        self._jobs.rows(query, values, step="publish")


def dataset_of(marts_url: str, namespace: sql.Namespace) -> str:
    """Return the dataset of the marts that `bigquery://<project>/<dataset>` names. Raises SettingsError."""
    project, dataset = sql.split_url(marts_url)
    if not marts_url.startswith(sql.SCHEME) or project != namespace.project or not dataset:
        raise SettingsError(
            f"warehouse.marts_url is {marts_url!r}; expected {sql.SCHEME}{namespace.project}/<dataset>, in the project"
            " of the warehouse"
        )
    return dataset
