"""Options in; checks, suites and clean-up of a run, in this order, and its report out."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError

from tests.cloud.budget import OverBudget, check_limits
from tests.cloud.checks.all import all_checks, project_number
from tests.cloud.checks.check import Project, Result, evaluate, one_line
from tests.cloud.cleanup import KINDS, Cleaned, clean_up, pages
from tests.cloud.clients import Clients
from tests.cloud.dry_run import estimate
from tests.cloud.expected import expected_of
from tests.cloud.guard import Guard
from tests.cloud.journal import Journal
from tests.cloud.names import new_run
from tests.cloud.options import Options
from tests.cloud.plan import variables_of
from tests.cloud.results import Report
from tests.cloud.suites import run_suite, suite_of
from tests.cloud.transport import guarded
from tests.support.servers import ROOT

Say = Callable[[Result], None]
NEEDED = ("credentials", "project", "billing", "rights of the caller to run the suites")


class Ended(BaseException):
    """A signal asks for the end of the run."""


class Run:
    """One run of the kit."""

    def __init__(self, options: Options, say: Say = lambda _: None) -> None:
        self.options, self._say = options, say
        self.id = options.run or new_run()
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        self.folder = options.folder.resolve() / f"{stamp}-{self.id}"
        path = self.folder.with_name(f"{self.folder.name}.json")
        self.report = Report(options.target, options.limits, self.id, path)
        self.clients = Clients(options.target)
        self.journal = Journal(self.folder)

    def __call__(self) -> Report:
        """Do everything that the options name; the clean-up is done after a signal, too."""
        self.report.write()
        with ignored():
            self._do()
        return self.report

    def _do(self) -> None:
        try:
            with self._signals():
                if not self.options.clean_up and self._may_run_suites(self._check()):
                    self._run_suites()
            self.report.state = "ended"
        except Ended as signal_:
            self.report.state = f"ended by {signal_}"
        except OverBudget as error:
            self._note(
                Result("budget", "limits", "fail", f"{one_line(error)}.", "raise the limit, or run fewer suites")
            )
            self.report.state = "ended"
        finally:
            if self.options.clean_up or self.options.suites:
                self._clean()
            self.report.use = self.journal.use().dump()
            self.report.write()

    def _note(self, result: Result) -> None:
        self.report.results.append(result)
        self._say(result)

    def _guard(self, step: str, *, writes: bool, run: str = "") -> Guard:
        return Guard(self.options.target, self.journal, self.options.limits, step=step, writes=writes, run=run)

    def _check(self) -> list[Result]:
        if not self.options.checks:
            return []
        options = self.options
        with guarded(self._guard("check", writes=False)):
            number = project_number(self.clients)
            domain = options.domain or str(variables_of(ROOT / "terraform", "", "", "").get("domain", ""))
            project = Project(self.clients, expected_of(options.target, number, options.domain), number, domain)
            for check in all_checks(project.expected, options.target, suites=bool(options.suites)):
                self._note(evaluate(check, project))
        self.report.write()
        return self.report.results

    def _may_run_suites(self, checked: list[Result]) -> bool:
        """Return whether the suites can run: what they need was not found missing, and they cost what they may."""
        if not self.options.suites:
            return False
        check_limits(estimate(self.options), self.options.limits)
        missing = [result for result in checked if result.title in NEEDED and result.outcome != "pass"]
        for result in missing:
            message = f"The suites were not run, as the check {result.title!r} did not pass."
            self._note(Result("suites", f"need {result.title}", "unknown", message, result.repair))
        return not missing

    def _run_suites(self) -> None:
        datasets = self._datasets()
        for name in self.options.suites:
            suite = suite_of(name)
            if name == "dataflow" and not self.options.image:
                message = "The job was not run, as no image of its workers was named."
                repair = "build it (docs/deploy.md), and give --image"
                self._note(Result(name, "one job", "unknown", message, repair))
                continue
            ran = run_suite(
                suite,
                self.options.target,
                self.id,
                self.folder,
                self.options.limits,
                datasets=datasets,
                image=self.options.image,
            )
            for result in ran.results:
                self._note(result)
            self.report.left_out[name] = dict(suite.left_out)
            self.report.use = self.journal.use().dump()
            self.report.write()

    def _datasets(self) -> list[str]:
        """Return the names of the project's datasets, which no query of the suites may name."""
        path = f"/bigquery/v2/projects/{self.options.target.project}/datasets"
        with guarded(self._guard("check", writes=False)):
            return [
                dataset["datasetReference"]["datasetId"]
                for dataset in pages(self.clients, "bigquery", path, "datasets")
            ]

    def _clean(self) -> None:
        run = "" if self.options.clean_up and not self.options.run else self.id
        with guarded(self._guard("clean-up", writes=True, run=run)):
            try:
                self.report.cleaned = clean_up(self.clients, run, self.options.wait_s)
            except (GoogleAPICallError, GoogleAuthError, OSError) as error:
                self.report.cleaned = Cleaned(failed={kind.name: f"{kind.name}: {one_line(error)}" for kind in KINDS})

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Raise Ended at the first SIGINT or SIGTERM, which ends the process of a suite, too."""

        def end(number: int, _: Any) -> None:
            for other in (signal.SIGINT, signal.SIGTERM):
                signal.signal(other, signal.SIG_IGN)
            raise Ended(signal.Signals(number).name)

        with handled(end):
            yield


@contextmanager
def handled(handler: Any) -> Iterator[None]:
    """Let a handler have SIGINT and SIGTERM for a while."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def ignored() -> Iterator[None]:
    """Say at a signal that the clean-up goes on."""

    def go_on(number: int, _: Any) -> None:
        sys.stderr.write(f"{signal.Signals(number).name}: the clean-up goes on; it takes a minute at most\n")

    with handled(go_on):
        yield
