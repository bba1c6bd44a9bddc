"""The one gate that every call of a run passes: what is not the run's stays as it is, and limits hold."""

import json
import threading
from collections.abc import Iterable
from typing import Any

from tests.cloud import sql
from tests.cloud.budget import Limits, Use, check_limits
from tests.cloud.calls import UNKNOWN, Call, Touched, values_of
from tests.cloud.discovery import Json
from tests.cloud.journal import Journal
from tests.cloud.methods import OF_JOBS, OWN, QUERIES, READS
from tests.cloud.names import run_of
from tests.cloud.target import Target

CREDENTIALS = frozenset({"oauth2.token", "oauth2.tokeninfo", "metadata"})
REMOVES = ("delete", "DeleteTopic", "DeleteSubscription", "DeleteSnapshot", "DeleteSecret", "cancel", "UpdateJob")


class NotAdmitted(Exception):
    """A call that the kit does not make; it was not sent."""


class Guard:
    """Admits calls of one step of a run; `writes` says whether the step may change the run's own resources."""

    def __init__(
        self,
        target: Target,
        journal: Journal,
        limits: Limits,
        *,
        step: str,
        writes: bool,
        run: str = "",
        datasets: Iterable[str] = (),
    ) -> None:
        self.target, self.journal, self.limits, self.run = target, journal, limits, run
        self.step, self.writes = step, writes
        self.datasets = frozenset(datasets)
        self._use, self._lock = journal.use(), threading.Lock()

    @property
    def use(self) -> Use:
        """Return what the run has used."""
        return self._use

    def admit(self, call: Call) -> None:
        """Count and note a call that may be sent.

        Raises:
            NotAdmitted: it would change or read what is not the run's, or no step makes such a call.
            OverBudget: it would pass a limit; what removes resources is always admitted.
        """
        if call.method in CREDENTIALS:
            return
        self._check(call)
        billed = call.method in QUERIES and not is_dry(call.body)
        tables = max(1, sum(sql.tables(text) for text in queries(call))) if billed else 0
        with self._lock:
            used = self._use.plus(call.method, tables)
            if not call.method.endswith(REMOVES) and call.method not in READS:
                check_limits(used, self.limits)
            self._use = used
        self.journal.note(self.step, call.method, call.resource, tables)

    def _check(self, call: Call) -> None:
        if call.method in READS:
            return
        if call.method == UNKNOWN or call.method not in OWN:
            raise NotAdmitted(f"{self.step} does not call {call.method} {call.body.get('address', '')}".rstrip())
        if not self.writes:
            raise NotAdmitted(f"{self.step} only reads, and {call.method} is not a method that reads settings")
        others = [t for t in call.touched if not self._is_own(t)]
        if others:
            names = ", ".join(f"{t.kind}/{t.name}" for t in others)
            raise NotAdmitted(f"{call.method} would touch {names}, which is not a resource of a run")
        for text in queries(call):
            if foreign := sql.foreign_names(text, self.target.project, self.datasets):
                raise NotAdmitted(f"a query names the dataset {', '.join(foreign)}, which is not a resource of a run")
        if not call.touched and call.method not in OF_JOBS | QUERIES:
            raise NotAdmitted(f"{call.method} names no resource of a run")

    def _is_own(self, touched: Touched) -> bool:
        """Return whether a resource is this run's; without a run (a clean-up) whether it is any run's."""
        if touched.kind == "jobs":
            return run_in(touched.name) in ((self.run,) if self.run else (run_in(touched.name) or None,))
        run = run_of(touched.name)
        return bool(run) and run == (self.run or run)


def run_in(job: str) -> str:
    """Return the id of the run in the name of a Dataflow job, which has more before it."""
    _, marker, rest = job.partition("millrace-smoke-")
    return run_of(f"millrace-smoke-{rest}") if marker else ""


def queries(call: Call) -> list[str]:
    """Return the SQL texts of a call."""
    return list(values_of(call.body, "query")) if call.method in QUERIES else []


def dumps(body: Json) -> bytes:
    """Return a body as it is sent."""
    return json.dumps(body).encode()


def is_dry(body: Any) -> bool:
    """Return whether a job is a dry run."""
    return isinstance(body, dict) and bool(body.get("dryRun") or (body.get("configuration") or {}).get("dryRun"))
