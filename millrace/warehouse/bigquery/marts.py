"""The published marts in a dataset that readers query, and the candidate datasets that may replace them.

BigQuery has no DDL in transactions, so tables are replaced one by one, each at once, in the order in which dbt built
them; a journal written before the first lets another process finish what one began. `ops.published` has one row, the
candidate that the marts are or become; an UPDATE of it that names its base lets one of several candidates through.
"""

from urllib.parse import quote_plus

from google.api_core import exceptions

from millrace.domain.errors import Fatal, MartsMoved, SettingsError, WarehouseRefused
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.schema import Schema

DAY_MS = 24 * 3600 * 1000
LEAST_MS = 3600 * 1000  # a dataset takes no shorter expiry
BEGUN, PLANNED, COPIED, DROPPED, DONE = "begun", "planned", "copied", "dropped", "done"


class Marts:
    """Candidates and marts of one place."""

    def __init__(self, jobs: Jobs, marts_url: str, endpoint: str, max_bytes_billed: int, keep_days: float) -> None:
        self._keep_ms = max(LEAST_MS, int(keep_days * DAY_MS))
        self._jobs, self._place, self._schema = jobs, jobs.place, Schema(jobs)
        self._endpoint, self._max_bytes_billed = endpoint, max_bytes_billed
        self._marts = dataset_of(marts_url, self._place)

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Variables that make dbt read this warehouse and build into a candidate."""
        self._schema.make_dataset(candidate, self._keep_ms)
        return {
            "MILLRACE_DBT_TARGET": "bigquery",
            "MILLRACE_BIGQUERY_PROJECT": self._place.project,
            "MILLRACE_BIGQUERY_LOCATION": self._place.location,
            "MILLRACE_BIGQUERY_ENDPOINT": self._endpoint,
            "MILLRACE_BIGQUERY_PREFIX": self._place.prefix,
            "MILLRACE_WAREHOUSE__MAX_BYTES_BILLED": str(self._max_bytes_billed),
            "MILLRACE_CANDIDATE_DATASET": self._place.dataset(candidate),
        }

    def candidate_url(self, candidate: str) -> str:
        """Where Great Expectations finds a candidate, as an SQLAlchemy URL."""
        return self.url(candidate)

    def url(self, schema: str) -> str:
        """A dataset as an SQLAlchemy URL; the address of a server other than Google's goes with it."""
        query = f"?endpoint={quote_plus(self._endpoint)}" if self._endpoint else ""
        return f"bigquery://{self._place.project}/{self._place.dataset(schema)}{query}"

    def begin(self, candidate: str, *, empty: bool) -> None:
        """Make a candidate of clones of what is published, or of nothing; no row is copied.

        Its base is read first: marts that are published while they are cloned make it one that can't be published.
        """
        self._schema.make_ops()
        base = self._published()
        dataset = f"{self._place.project}.{self._place.dataset(candidate)}"
        with self._jobs.answering(f"begin {candidate}"):
            self._jobs.client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)
        self._schema.make_dataset(candidate, self._keep_ms)
        if not empty:
            self._clone(candidate)
        self._note(candidate, BEGUN, [base])

    def _clone(self, candidate: str) -> None:
        for name in self._tables(self._marts):
            target, source = self._place.table(candidate, name), self._place.table(self._marts, name)
            self._jobs.rows(f"CREATE TABLE {target} CLONE {source}", step="begin")
        for name in self._views(self._marts):
            self._show(self._marts, candidate, name)

    def rows(self) -> dict[str, int]:
        """Rows per mart, as readers see them now."""
        return {name: self._count(self._place.dataset(self._marts), name) for name in self._tables(self._marts)}

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace each mart by the candidate's, in the order in which they were built; returns rows per mart.

        Again: goes on where it stopped, or changes nothing.

        Raises:
            Fatal: it is neither a candidate, nor was it published.
            MartsMoved: other marts were published since it was begun.
        """
        self._schema.make_ops()
        self._schema.make_dataset(self._marts)
        journal = self._journal(candidate)
        if DONE not in journal:
            built = journal.get(PLANNED) or self._built(candidate)
            self._claim(candidate, journal.get(BEGUN, [""])[-1])
            planned = journal.get(PLANNED) or self._plan(candidate, built)
            for place, name in enumerate(planned):
                if name not in journal.get(COPIED, []):
                    self._copy(candidate, name)
                    self._note(candidate, COPIED, [name], place)
            self._drop_others(candidate, planned)
            self._note(candidate, DONE, [""], len(planned))
        return self.rows()

    def _published(self) -> str:
        """The candidate that the marts are, or that a publication makes them; empty: none was published."""
        ((found,),) = self._jobs.rows(f"SELECT candidate FROM {self._place.ops('published')}", step="publish")  # noqa: S608
        return str(found)

    def _claim(self, candidate: str, base: str) -> None:
        """Be the one that replaces its base; again changes nothing.

        Of two UPDATEs of the row at a time BigQuery may abort one: what the row says then decides, not the error.
        """
        swap = f"UPDATE {self._place.ops('published')} SET candidate = @candidate WHERE candidate = @base"  # noqa: S608
        try:
            self._jobs.rows(swap, {"candidate": candidate, "base": base}, step="publish")
        except WarehouseRefused:
            if self._published() == base:
                raise
        published = self._published()
        if published != candidate:
            raise MartsMoved(
                f"{candidate} was begun from {base or 'no marts'}, but {published or 'nothing'} is published now:"
                " it would take back what is in there; run model again"
            )

    def _built(self, candidate: str) -> list[str]:
        tables = [*self._tables(candidate), *self._views(candidate)]
        if not tables:
            raise Fatal(f"{candidate} is neither a candidate with tables nor what is published; run model again")
        return tables

    def _plan(self, candidate: str, tables: list[str]) -> list[str]:
        self._note(candidate, PLANNED, tables)
        return tables

    def _show(self, source: str, target: str, name: str) -> None:
        """Make a view of one dataset in another, over the tables there."""
        with self._jobs.answering(f"look at {name}"):
            query = str(self._jobs.client.get_table(self._place.id(source, name)).view_query)
        for mark in (".", "`.`"):
            query = query.replace(
                f"{self._place.project}{mark}{self._place.dataset(source)}{mark}",
                f"{self._place.project}{mark}{self._place.dataset(target)}{mark}",
            )
        self._jobs.rows(f"CREATE OR REPLACE VIEW {self._place.table(target, name)} AS {query}", step="publish")

    def _copy(self, candidate: str, name: str) -> None:
        """Metadata only: no row is read, and readers see the old table or the new one."""
        if name in self._views(candidate):
            self._show(candidate, self._marts, name)
            return
        target, source = self._place.table(self._marts, name), self._place.table(candidate, name)
        self._jobs.rows(f"CREATE OR REPLACE TABLE {target} COPY {source}", step="publish")
        self._keep(name)

    def _keep(self, name: str) -> None:
        """A mart does not expire, though its candidate does."""
        with self._jobs.answering(f"publish {name}"):
            table = self._jobs.client.get_table(self._place.id(self._marts, name), retry=self._jobs.retry)
            if table.expires is not None:
                table.expires = None
                self._jobs.client.update_table(table, ["expires"], retry=self._jobs.retry)

    def _drop_others(self, candidate: str, planned: list[str]) -> None:
        for name in set(self._views(self._marts)) - set(planned):
            self._jobs.rows(f"DROP VIEW IF EXISTS {self._place.table(self._marts, name)}", step="publish")
            self._note(candidate, DROPPED, [name])
        for name in set(self._tables(self._marts)) - set(planned):
            self._jobs.rows(f"DROP TABLE IF EXISTS {self._place.table(self._marts, name)}", step="publish")
            self._note(candidate, DROPPED, [name])

    def _tables(self, dataset: str) -> list[str]:
        """Tables of a dataset, oldest first: dbt builds what others depend on before those."""
        return self._named(dataset, "TABLE")

    def _views(self, dataset: str) -> list[str]:
        return self._named(dataset, "VIEW")

    def _named(self, dataset: str, kind: str) -> list[str]:
        with self._jobs.answering(f"list {dataset}"):
            try:
                named = f"{self._place.project}.{self._place.dataset(dataset)}"
                listed = list(self._jobs.client.list_tables(named, retry=self._jobs.retry))
            except exceptions.NotFound:
                return []
        return [t.table_id for t in sorted(listed, key=lambda t: (t.created, t.table_id)) if t.table_type == kind]

    def _count(self, dataset: str, name: str) -> int:
        with self._jobs.answering(f"count {name}"):
            table = self._jobs.client.get_table(f"{self._place.project}.{dataset}.{name}", retry=self._jobs.retry)
            return int(table.num_rows)

    def _journal(self, candidate: str) -> dict[str, list[str]]:
        """What was noted of a publication, by step."""
        query = (
            f"SELECT step, mart FROM {self._place.ops('publications')} WHERE candidate = @candidate"  # noqa: S608
            " ORDER BY place, written_at"
        )
        found: dict[str, list[str]] = {}
        for step, mart in self._jobs.rows(query, {"candidate": candidate}, step="publish"):
            found.setdefault(str(step), []).append(str(mart))
        return found

    def _note(self, candidate: str, step: str, marts: list[str], first: int = 0) -> None:
        given = {
            "candidate": candidate,
            "step": step,
            "marts": [{"mart": mart, "place": first + i} for i, mart in enumerate(marts)],
        }
        query = (
            f"INSERT INTO {self._place.ops('publications')} (candidate, mart, place, step, written_at)"  # noqa: S608
            " SELECT @candidate, m.mart, m.place, @step, CURRENT_TIMESTAMP() FROM UNNEST(@marts) m"
        )
        self._jobs.rows(query, given, step="publish")


def dataset_of(marts_url: str, place: sql.Place) -> str:
    """The marts' schema that a URL `bigquery://<project>/<dataset>` names. Raises SettingsError."""
    project, _, dataset = marts_url.removeprefix(sql.SCHEME).partition("/")
    if not marts_url.startswith(sql.SCHEME) or project != place.project or not dataset:
        raise SettingsError(
            f"warehouse.marts_url is {marts_url!r}; write {sql.SCHEME}{place.project}/<dataset>, a dataset of"
            " warehouse's project"
        )
    return dataset
