"""Runs all checks of the doctor in order; a check that raises yields a finding, and the others still run."""

from collections.abc import Iterator

from cli.checks import credentials, events, machine, pauses, prefect, project
from cli.checks.finding import Check, Finding, Target, bad
from cli.errors import sentence

CHECKS: tuple[tuple[str, Check], ...] = (
    ("versions", machine.versions),
    ("project", project.project),
    ("ports", machine.ports),
    ("credentials", credentials.secrets),
    ("credentials", credentials.logins),
    ("topics", events.topics),
    ("subscriptions", events.subscriptions),
    ("notifications", events.notification),
    ("prefect", prefect.server),
    ("pools", prefect.pools),
    ("blocks", prefect.blocks),
    ("blocks", prefect.slack),
    ("deployments", prefect.deployments),
    ("automations", prefect.automations),
    ("connections", prefect.connections),
    ("pauses", pauses.pauses),
)


def run_checks(target: Target) -> Iterator[Finding]:
    """Yield findings as the checks produce them."""
    for name, check in CHECKS:
        try:
            yield from check(target)
        except Exception as error:  # a server that does not answer must not hide other problems
            yield bad(name, f"could not be checked: {sentence(error)[0]}", target.repair("servers"))
