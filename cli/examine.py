"""All checks of the doctor, one after another; one that can't look says so and holds no other back."""

from collections.abc import Iterator
from importlib import import_module

from cli.checks.finding import Finding, Patient, wrong
from cli.errors import sentence

CHECKS = (
    "machine:versions",
    "machine:ports",
    "credentials:secrets",
    "credentials:logins",
    "events:topics",
    "events:subscriptions",
    "events:notification",
    "prefect:server",
    "prefect:pools",
    "prefect:blocks",
    "prefect:slack",
    "prefect:deployments",
    "prefect:automations",
    "prefect:connections",
)
WORDS = {
    "events:notification": "notifications",
    "credentials:secrets": "credentials",
    "credentials:logins": "credentials",
    "prefect:slack": "blocks",
    "prefect:server": "prefect",
}


def examine(patient: Patient) -> Iterator[Finding]:
    """Findings as they come."""
    for check in CHECKS:
        module, name = check.split(":")
        try:
            yield from getattr(import_module(f"cli.checks.{module}"), name)(patient)
        except Exception as error:  # a server that is away must not hide what else is wrong
            told = f"could not be looked at: {sentence(error)[0]}"
            yield wrong(WORDS.get(check, name), told, look_at(patient))


def look_at(patient: Patient) -> str:
    """Where to look when a server is away."""
    if patient.where.state is None:
        return "kubectl -n millrace get pods"
    return f"{patient.where.command} down && {patient.where.command} up"
