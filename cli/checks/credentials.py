"""Secrets that are read on use, and logins with them."""

from collections.abc import Iterator

from cli.checks.finding import Finding, Patient, good, look, wrong
from millrace.airbyte.client import AirbyteClient
from millrace.secrets import read_secret
from tasks.upkeep.secret_states import credentials_of, secret_states


def secrets(patient: Patient) -> Iterator[Finding]:
    """Every secret is there and enabled, and none is too old."""
    found = secret_states(patient.settings)
    for state in (s for s in found if s.due):
        add = f'printf %s "$VALUE" | {patient.where.command} secrets add {state.secret}'
        told = f"secret {state.secret} (for {state.used_by}) {state.due}"
        yield look("credentials", told, add) if state.usable else wrong("credentials", told, add)
    if not any(s.due for s in found):
        yield good("credentials", f"{len(found)} secrets can be read, none is too old")


def logins(patient: Patient) -> Iterator[Finding]:
    """Airbyte takes the client id and secret that Secret Manager has."""
    given, credentials = patient.settings.airbyte, credentials_of(patient.settings)
    id_, secret = (read_secret(credentials, name) for name in (given.client_id_secret, given.client_secret_secret))
    with AirbyteClient(given.url, id_, secret) as client:
        client.call("GET", "/workspaces")
    yield good("credentials", f"Airbyte at {given.url} takes them")
