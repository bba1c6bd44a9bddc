"""What went wrong in runs, and the command that mends it; pure."""

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime

from millrace.domain.alerts import CRASHED, kind, tidy, work
from millrace.domain.batch import RefusedObject
from millrace.status.prefect_runs import Run
from millrace.status.types import RunLink, Trouble

LONGEST = 280
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # of a run that never began
BY_KIND = {  # else the run is started again; the rest is in the runbook, under its name
    "AirbyteRefused": "python -m cli.deploy.connections apply {source}",
    "ContractError": "python -m millrace.contracts check",
    "UnknownStream": "python -m millrace.contracts check",
    "SettingsError": "python -m cli.deploy.blocks",
    "ServiceUnavailable": "make status",
}


def newest_troubles(runs: Iterable[Run], ui: str) -> dict[str, Trouble]:
    """By work (a run's name), the newest failure; `over` when a later run of the same work went well.

    Runs come newest first, as Prefect gives them.
    """
    found: dict[str, Trouble] = {}
    mended: set[str] = set()
    for run in runs:
        name = work(run.name)
        if run.bad and name not in found:
            found[name] = of_run(run, ui, over=name in mended)
        elif run.state == "COMPLETED":
            mended.add(name)
    return found


def of_run(run: Run, ui: str, *, over: bool = False) -> Trouble:
    """One failed run's trouble."""
    what = CRASHED if run.state == "CRASHED" else kind(run.message)
    said = first_sentence(tidy(run.message)) or "The run gave no reason."
    return Trouble(
        at=run.ended or run.started or LONG_AGO,
        sentence=said,
        kind=what,
        over=over,
        run=link(run, ui),
        command=command(run, what),
        runbook="millrace-a-flow-run-crashed" if what == CRASHED else "errors",
    )


def link(run: Run, ui: str) -> RunLink:
    """Where Prefect shows a run."""
    return RunLink(id=run.id, name=run.name, state=run.state, url=run_url(ui, run.id))


def run_url(ui: str, run_id: str) -> str:
    """Address of a run in Prefect's UI; '' when there is none."""
    return f"{ui}/runs/flow-run/{run_id}" if ui and run_id else ""


def command(run: Run, what: str) -> str:
    """What a person types once the cause is mended, or to mend it."""
    if what in BY_KIND:
        source = run.parameters.get("source")
        return BY_KIND[what].format(source=shlex.quote(str(source)) if source else "").rstrip()
    given = [
        f"-p {shlex.quote(f'{name}={run.parameters[name]}')}"
        for name in ("source", "stream")
        if run.parameters.get(name)
    ]
    return " ".join([f"prefect deployment run {run.flow}/{run.flow}", *given])


def of_quarantine(source: str, stream: str, refused: tuple[RefusedObject, ...]) -> tuple[str, str]:
    """One sentence on what is in quarantine, and the command that lets it in after a fix."""
    rows, reasons = sum(o.rows for o in refused), sorted({r for o in refused for r in o.reasons.split(", ")})
    files = "1 file" if len(refused) == 1 else f"{len(refused)} files"
    sentence = f"{rows:,} {'row' if rows == 1 else 'rows'} of {files} broke the contract: {', '.join(reasons)}."
    return sentence, f"prefect deployment run redrive/redrive -p source={source} -p stream={stream}"


def first_sentence(text: str) -> str:
    """The first sentence of an error, not longer than a line or three."""
    end = text.find(". ")
    text = text[: end + 1] if end > 0 else text
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
