"""Adds a version to a secret of Secret Manager, for environments without `gcloud`; creates a missing secret."""

import contextlib
from typing import Any

from google.api_core.exceptions import AlreadyExists, GoogleAPICallError

from blocks.secrets import MillraceCredentials
from millrace.domain.errors import SecretError, ServiceUnavailable
from millrace.secrets import TIMEOUT_S


def add_version(credentials: MillraceCredentials, name: str, value: bytes, *, disable_old: bool) -> str:
    """Add a version, and with `disable_old` disable those before it; return its name.

    Raises:
        SecretError: the value is empty.
        ServiceUnavailable: Secret Manager did not answer, or rejected the request.
    """
    if not value:
        raise SecretError(f"no value for secret {name!r} on standard input")
    parent = f"projects/{credentials.project}"
    client = credentials.get_secret_manager_client()
    try:
        with contextlib.suppress(AlreadyExists):
            replicated: dict[str, Any] = {"replication": {"automatic": {}}}
            client.create_secret(parent=parent, secret_id=name, secret=replicated, timeout=TIMEOUT_S)
        secret = f"{parent}/secrets/{name}"
        payload = {"data": value}
        added = str(client.add_secret_version(parent=secret, payload=payload, timeout=TIMEOUT_S).name)
        for version in list(client.list_secret_versions(request={"parent": secret, "filter": "state:ENABLED"})):
            if disable_old and version.name.rsplit("/", 1)[1] != added.rsplit("/", 1)[1]:
                client.disable_secret_version(name=version.name, timeout=TIMEOUT_S)
    except GoogleAPICallError as error:
        raise ServiceUnavailable(f"Secret Manager: {name}: {error.message}") from None
    return added
