"""`millrace doctor | mend`: what is wrong with the set-up, and the command that mends it."""

from typing import Annotated

import typer

from cli import codes, show
from cli.errors import StackDown
from cli.place import here

MARKS = {"good": "✓", "look": "!", "wrong": "✗"}
KINDS = {"good": "good", "look": "warn", "wrong": "bad"}


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(rich_help_panel="Look", epilog="Examples: millrace doctor · millrace doctor --json")(doctor)
    app.command(rich_help_panel="Set-up", epilog="Examples: millrace mend blocks · millrace mend all")(mend)


def doctor(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False
) -> None:
    """Look at versions, ports, credentials, topics, subscriptions, notifications, pools, blocks, deployments,
    automations and connections; say how to mend what is wrong (then exit code 1)."""
    from cli.checks.finding import Finding, Patient
    from cli.checks.machine import versions
    from cli.examine import examine
    from millrace.settings import load_settings

    where = here(context)
    found: list[Finding] = []
    try:
        where.enter()
    except StackDown as down:
        found = [Finding(check="ports", level="wrong", what=str(down), mend=f"{where.command} up")]
        found += versions(Patient(where, load_settings()))
        if not as_json:
            for finding in found:
                _tell(finding.level, finding.check, finding.what, finding.mend)
    else:
        for finding in examine(Patient(where, load_settings())):
            found.append(finding)
            if not as_json:
                _tell(finding.level, finding.check, finding.what, finding.mend)
    if as_json:
        show.as_json([finding.model_dump() for finding in found])
    problems = [finding for finding in found if finding.level == "wrong"]
    if not as_json:
        show.line(f"{len(problems)} things are wrong" if problems else "all is well", "bad" if problems else "good")
    if problems:
        raise typer.Exit(codes.WRONG)


def _tell(level: str, check: str, what: str, mend: str) -> None:
    show.line(f"{MARKS[level]} {check:<14} {what}", KINDS[level])
    if mend:
        show.line(f"  {'':<14} {mend}")


def mend(
    context: typer.Context,
    step: Annotated[str, typer.Argument(help="resources, pools, blocks, connections, deployments, automations or all")],
) -> None:
    """Do a step of the set-up again; what is as it should be stays so."""
    from cli.mends import STEPS, mend_step
    from millrace.domain.errors import SettingsError

    where = here(context)
    if step != "all" and step not in STEPS:
        raise SettingsError(f"no step {step!r}; there are {', '.join(STEPS)} and all")
    where.enter()
    for name in STEPS if step == "all" else (step,):
        mend_step(where, name)
