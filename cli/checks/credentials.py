"""Checks that secrets can be read and that logins with them succeed."""

from collections.abc import Iterator

from cli.checks.finding import Finding, Target, bad, good, look
from millrace.airbyte.client import AirbyteClient
from millrace.domain.remedies import Remedy
from millrace.secrets import read_secret
from tasks.upkeep.secret_states import credentials_of, secret_states


def secrets(target: Target) -> Iterator[Finding]:
    """Check that every secret exists, is enabled and is not too old."""
    states = secret_states(target.settings)
    for state in (s for s in states if s.due):
        add = target.remedy(Remedy.ADD_SECRET, secret=state.secret)
        message = f"secret {state.secret} (for {state.used_by}) {state.due}"
        yield look("credentials", message, add) if state.usable else bad("credentials", message, add)
    if not any(s.due for s in states):
        yield good("credentials", f"{len(states)} secrets can be read, none is too old")


def logins(target: Target) -> Iterator[Finding]:
    """Check that Airbyte accepts the client id and secret in Secret Manager."""
    airbyte, credentials = target.settings.airbyte, credentials_of(target.settings)
    id_, secret = (read_secret(credentials, name) for name in (airbyte.client_id_secret, airbyte.client_secret_secret))
    with AirbyteClient(airbyte.url, id_, secret) as client:
        client.call("GET", "/workspaces")
    yield good("credentials", f"Airbyte at {airbyte.url} accepts the login")
