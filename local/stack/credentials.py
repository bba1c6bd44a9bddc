"""The demo's secret values: made once per stack, at random, and readable by its owner only."""

import json
import secrets

from local.stack.place import Place, write_atomically

NAMES = ("airbyte-client-id", "airbyte-client-secret", "airport-ops-password", "airbyte-hmac-id", "airbyte-hmac-secret")


def load_credentials(place: Place) -> dict[str, str]:
    """The values by name; what an administrator would keep in a password manager."""
    file = place.state / "credentials.json"
    if file.exists():
        return dict(json.loads(file.read_text()))
    values = {name: secrets.token_urlsafe(24) for name in NAMES}
    values["slack-token"] = "/".join(
        ["T" + secrets.token_hex(4).upper(), "B" + secrets.token_hex(4).upper(), secrets.token_hex(12)]
    )
    write_atomically(file, json.dumps(values, indent=1), mode=0o600)
    return values
