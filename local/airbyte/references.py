"""Configuration with `secret_coordinate::NAME` in, configuration with the values of Secret Manager out."""

from typing import Any

import grpc

MARK = "secret_coordinate::"
TIMEOUT_S = 10.0


class SecretMissing(Exception):
    """A secret that a configuration names can't be read."""


class SecretManager:
    """Reads the latest versions of a project's secrets from the server at `address`."""

    def __init__(self, address: str, project: str) -> None:
        self._address, self._project = address, project

    def read(self, name: str) -> str:
        """The latest version's value.

        Raises:
            SecretMissing: there is no such secret, its version is disabled, or the server does not answer.
        """
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.cloud.secretmanager import SecretManagerServiceClient
        from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
            SecretManagerServiceGrpcTransport,
        )

        channel = grpc.insecure_channel(self._address)
        try:
            client = SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))
            version = f"projects/{self._project}/secrets/{name}/versions/latest"
            answer = client.access_secret_version(name=version, timeout=TIMEOUT_S, retry=None)
            return str(answer.payload.data.decode())
        except (GoogleAPICallError, RetryError) as error:
            raise SecretMissing(
                f"secret {name!r} of project {self._project} can't be read ({error}); add an enabled version of it"
            ) from None
        finally:
            channel.close()


def resolve(value: Any, secrets: SecretManager, found: set[str]) -> Any:
    """The value with every reference replaced; adds the secret values to `found`.

    Raises:
        SecretMissing: see `SecretManager.read`.
    """
    if isinstance(value, dict):
        return {key: resolve(item, secrets, found) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, secrets, found) for item in value]
    if isinstance(value, str) and value.startswith(MARK):
        secret = secrets.read(value.removeprefix(MARK))
        found.add(secret)
        return secret
    return value
