"""Adds a version to a secret: `printf %s "$VALUE" | python -m cli.deploy.add_secret NAME [--disable-old]`.

For places without `gcloud`; makes the secret when it is missing. The value comes from standard input and is not shown.
"""

import argparse
import contextlib
import sys
from typing import Any

from google.api_core.exceptions import AlreadyExists, GoogleAPICallError

from blocks.secrets import MillraceCredentials
from millrace.domain.errors import MillraceError, SecretError, ServiceUnavailable
from millrace.secrets import TIMEOUT_S
from millrace.settings import load_settings


def add_version(credentials: MillraceCredentials, name: str, value: bytes, *, disable_old: bool) -> str:
    """Add a version, and disable those before it when told; returns its name.

    Raises:
        SecretError: the value is empty.
        ServiceUnavailable: Secret Manager did not answer, or refused.
    """
    if not value:
        raise SecretError(f"no value for secret {name!r} on standard input")
    parent = f"projects/{credentials.project}"
    client = credentials.get_secret_manager_client()
    try:
        with contextlib.suppress(AlreadyExists):
            made: dict[str, Any] = {"replication": {"automatic": {}}}
            client.create_secret(parent=parent, secret_id=name, secret=made, timeout=TIMEOUT_S)
        secret = f"{parent}/secrets/{name}"
        payload = {"data": value}
        added = str(client.add_secret_version(parent=secret, payload=payload, timeout=TIMEOUT_S).name)
        for version in list(client.list_secret_versions(request={"parent": secret, "filter": "state:ENABLED"})):
            if disable_old and version.name.rsplit("/", 1)[1] != added.rsplit("/", 1)[1]:
                client.disable_secret_version(name=version.name, timeout=TIMEOUT_S)
    except GoogleAPICallError as error:
        raise ServiceUnavailable(f"Secret Manager: {name}: {error.message}") from None
    return added


def main() -> int:
    """Add the version."""
    parser = argparse.ArgumentParser(prog="python -m cli.deploy.add_secret", description=__doc__)
    parser.add_argument("name", help="the secret's name")
    parser.add_argument("--disable-old", action="store_true", help="disable the versions before it")
    given = parser.parse_args()
    try:
        settings = load_settings()
        credentials = MillraceCredentials(project=settings.events.project, endpoint=settings.secrets.endpoint)
        print(add_version(credentials, given.name, sys.stdin.buffer.read(), disable_old=given.disable_old))
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
