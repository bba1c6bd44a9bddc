"""`millrace doctor | repair`: problems of the set-up, and the steps that repair them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cli import codes, show
from cli.environment import Environment, environment_of
from cli.errors import StackDown

if TYPE_CHECKING:
    from cli.checks.finding import Finding

MARKS = {"good": "✓", "look": "!", "bad": "✗"}
KINDS = {"good": "good", "look": "warn", "bad": "bad"}


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(rich_help_panel="Look", epilog="Examples: millrace doctor · millrace doctor --json")(doctor)
    app.command(rich_help_panel="Set-up", epilog="Examples: millrace repair blocks · millrace repair all")(repair)


def doctor(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False
) -> None:
    """Check the set-up, and print the command that repairs each problem; exit code 1 when there is one.

    It checks versions, the project, ports, credentials, topics, subscriptions, notifications, pools, blocks,
    deployments, automations and connections.
    """
    findings: list[Finding] = []
    for finding in _findings(environment_of(context)):
        findings.append(finding)
        if not as_json:
            show.line(f"{MARKS[finding.level]} {finding.check:<14} {finding.message}", KINDS[finding.level])
            if finding.repair:
                show.line(f"  {'':<14} {finding.repair}")
    if as_json:
        show.as_json([finding.model_dump() for finding in findings])
    problems = sum(finding.level == "bad" for finding in findings)
    if not as_json:
        counted = "1 problem" if problems == 1 else f"{problems} problems"
        show.line(counted if problems else "no problems", "bad" if problems else "good")
    if problems:
        raise typer.Exit(codes.WRONG)


def _findings(environment: Environment) -> "Iterator[Finding]":
    from cli.checks.finding import Target, bad
    from cli.checks.machine import versions
    from cli.checks.project import project
    from millrace.settings import load_settings

    try:
        environment.enter()
    except StackDown as down:
        yield bad("ports", str(down), f"{environment.command} up")
        yield from versions(Target(environment, load_settings()))
        yield from project(Target(environment, load_settings()))
        return
    from cli.run_checks import run_checks  # imports Prefect, which reads the environment that was entered

    yield from run_checks(Target(environment, load_settings()))


def repair(
    context: typer.Context,
    step: Annotated[
        str,
        typer.Argument(
            help="resources, pools, blocks, connections, deployments, automations, all of these, servers or packages"
        ),
    ],
) -> None:
    """Run a step of the set-up again; idempotent."""
    from cli.repair import BY_THEMSELVES, STEPS
    from millrace.domain.errors import SettingsError

    environment = environment_of(context)
    if step in BY_THEMSELVES:
        return BY_THEMSELVES[step](environment)
    if step != "all" and step not in STEPS:
        expected = ", ".join((*STEPS, "all", *BY_THEMSELVES))
        raise SettingsError(f"no step is named {step!r}; expected one of {expected}")
    environment.enter()
    for name in STEPS if step == "all" else (step,):
        STEPS[name](environment)
