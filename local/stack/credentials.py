"""Creates the stack's secret values once, at random, in a file that only its owner can read."""

import json
import secrets

from local.demo import source
from local.stack.files import write_atomically
from local.stack.local_stack import LocalStack
from millrace.project import current_project

NAMES = (
    "airbyte-client-id",
    "airbyte-client-secret",
    "airbyte-webhook-token",
    "airbyte-hmac-id",
    "airbyte-hmac-secret",
)
SLACK = "slack-token"


def load_credentials(stack: LocalStack) -> dict[str, str]:
    """Return the secret values by name, as in an administrator's password manager; create those that are missing."""
    file = stack.state / "credentials.json"
    values: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    own = {source.PASSWORD_SECRET} if source.is_used(current_project()) else set()
    if missing := {*NAMES, SLACK, *own} - set(values):
        values |= {name: _slack_token() if name == SLACK else secrets.token_urlsafe(24) for name in sorted(missing)}
        write_atomically(file, json.dumps(values, indent=1), mode=0o600)
    return values


def _slack_token() -> str:
    return "/".join(["T" + secrets.token_hex(4).upper(), "B" + secrets.token_hex(4).upper(), secrets.token_hex(12)])
