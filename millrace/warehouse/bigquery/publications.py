"""The journal of publications in BigQuery: steps of a candidate in; what is published, planned and ours out.

`ops.published` has one row, the candidate that the marts are or become. `ops.publications` has a row per step and mart.
The newest rows of a mart say whether the platform made it, so they must outlive it.
"""

from google.api_core import exceptions

from millrace.domain.errors import MartsMoved, WarehouseRefused
from millrace.warehouse.bigquery.jobs import Jobs

BEGUN, PLANNED, COPIED, DROPPED, DONE = "begun", "planned", "copied", "dropped", "done"
OWN = """
SELECT mart FROM {publications} WHERE step IN ('planned', 'copied', 'dropped')
GROUP BY mart HAVING ARRAY_AGG(step ORDER BY written_at DESC LIMIT 1)[OFFSET(0)] != 'dropped'
"""
STEPS = "SELECT step, mart FROM {publications} WHERE candidate = @candidate ORDER BY place, written_at"
NOTE = """
INSERT INTO {publications} (candidate, mart, place, step, written_at)
SELECT @candidate, m.mart, m.place, @step, CURRENT_TIMESTAMP() FROM UNNEST(@marts) m
"""
PUBLISHED = "SELECT candidate FROM {published}"
CLAIM = "UPDATE {published} SET candidate = @candidate WHERE candidate = @base"


class Journal:
    """The steps of all publications of one warehouse."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._namespace = jobs, jobs.namespace

    def own(self) -> set[str]:
        """Return marts that publications made, or were about to make, and did not drop since."""
        with self._jobs.translate_errors("find the journal of publications"):
            try:
                self._jobs.client.get_table(self._namespace.id("ops", "publications"), retry=self._jobs.retry)
            except exceptions.NotFound:
                return set()
        return {str(mart) for (mart,) in self._jobs.rows(self._sql(OWN), step="publish")}

    def steps(self, candidate: str) -> dict[str, list[str]]:
        """Return the marts of each step of a publication."""
        steps: dict[str, list[str]] = {}
        for step, mart in self._jobs.rows(self._sql(STEPS), {"candidate": candidate}, step="publish"):
            steps.setdefault(str(step), []).append(str(mart))
        return steps

    def note(self, candidate: str, step: str, marts: list[str], first: int = 0) -> None:
        """Append a step of marts, which are numbered from `first`."""
        if not marts:
            return
        numbered = [{"mart": mart, "place": first + i} for i, mart in enumerate(marts)]
        self._jobs.rows(self._sql(NOTE), {"candidate": candidate, "step": step, "marts": numbered}, step="publish")

    def published(self) -> str:
        """Return the candidate that the marts are or become; empty when none was published."""
        ((candidate,),) = self._jobs.rows(self._sql(PUBLISHED), step="publish")
        return str(candidate)

    def claim(self, candidate: str, base: str) -> None:
        """Register as the successor of the base, which only one candidate can; again changes nothing.

        Of two UPDATEs of the row at a time BigQuery may abort one: the row then decides, not the error.
        """
        try:
            self._jobs.rows(self._sql(CLAIM), {"candidate": candidate, "base": base}, step="publish")
        except WarehouseRefused:
            if self.published() == base:
                raise
        published = self.published()
        if published != candidate:
            raise MartsMoved(
                f"{candidate} was begun from {base or 'no marts'}, but {published or 'nothing'} is published now:"
                " it would revert that publication; run model again"
            )

    def _sql(self, template: str) -> str:
        return template.format(**{name: self._namespace.ops(name) for name in ("publications", "published")})
