"""Failures of runs: runs in, the newest failure of each work with the command that fixes it out; pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from millrace.domain.alerts import CRASHED, kind, tidy, work
from millrace.domain.batch import QuarantinedObject
from millrace.domain.remedies import Remedy, of_run
from millrace.status.prefect_runs import Run
from millrace.status.types import RunLink, Trouble

LONGEST = 280
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # of a run that never started


def newest_troubles(runs: Iterable[Run], ui: str) -> dict[str, Trouble]:
    """Return the newest failure of each work (a run's name); it is `over` when a later run succeeded.

    Args:
        runs: newest first, as Prefect returns them.
        ui: address of Prefect's UI.
    """
    troubles: dict[str, Trouble] = {}
    recovered: set[str] = set()
    for run in runs:
        name = work(run.name)
        if run.bad and name not in troubles:
            troubles[name] = run_trouble(run, ui, over=name in recovered)
        elif run.state == "COMPLETED":
            recovered.add(name)
    return troubles


def run_trouble(run: Run, ui: str, *, over: bool = False) -> Trouble:
    """Return the failure of one run."""
    error = CRASHED if run.state == "CRASHED" else kind(run.message)
    return Trouble(
        at=run.ended or run.started or LONG_AGO,
        sentence=first_sentence(tidy(run.message)) or "The run has no error message.",
        kind=error,
        over=over,
        run=link(run, ui),
        command=of_run(run.id, run.flow, run.parameters, error),
        runbook="millrace-a-flow-run-crashed" if error == CRASHED else "errors",
    )


def link(run: Run, ui: str) -> RunLink:
    """Return a run with its address in Prefect's UI."""
    return RunLink(id=run.id, name=run.name, state=run.state, url=run_url(ui, run.id))


def run_url(ui: str, run_id: str) -> str:
    """Return the address of a run in Prefect's UI; '' without a UI or an id."""
    return f"{ui}/runs/flow-run/{run_id}" if ui and run_id else ""


def describe_quarantine(source: str, stream: str, quarantined: tuple[QuarantinedObject, ...]) -> tuple[str, str]:
    """Return a sentence on the quarantined rows, and the command that redrives them after a fix."""
    rows, reasons = sum(o.rows for o in quarantined), sorted({r for o in quarantined for r in o.reasons.split(", ")})
    files = "1 file" if len(quarantined) == 1 else f"{len(quarantined)} files"
    sentence = f"{rows:,} {'row' if rows == 1 else 'rows'} of {files} broke the contract: {', '.join(reasons)}."
    return sentence, Remedy.REDRIVE.filled(stream=f"{source}.{stream}")


def first_sentence(text: str) -> str:
    """Return the first sentence of an error, shortened to `LONGEST` characters."""
    end = text.find(". ")
    text = text[: end + 1] if end > 0 else text
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
