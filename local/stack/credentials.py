"""The demo's secret values: made once per stack, at random, and readable by its owner only."""

import json
import secrets

from local.stack.place import Place, write_atomically

NAMES = (
    "airbyte-client-id",
    "airbyte-client-secret",
    "airbyte-webhook-token",
    "airport-ops-password",
    "airbyte-hmac-id",
    "airbyte-hmac-secret",
)
SLACK = "slack-token"


def load_credentials(place: Place) -> dict[str, str]:
    """The values by name; what an administrator would keep in a password manager. Makes those that are missing."""
    file = place.state / "credentials.json"
    values: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    if missing := {*NAMES, SLACK} - set(values):
        values |= {name: _slack_token() if name == SLACK else secrets.token_urlsafe(24) for name in sorted(missing)}
        write_atomically(file, json.dumps(values, indent=1), mode=0o600)
    return values


def _slack_token() -> str:
    return "/".join(["T" + secrets.token_hex(4).upper(), "B" + secrets.token_hex(4).upper(), secrets.token_hex(12)])
