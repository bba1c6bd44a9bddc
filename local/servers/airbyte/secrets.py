"""Resolves `secret_coordinate::<name>` in configurations from Secret Manager, on use."""

from typing import Any

import grpc
from google.cloud.secretmanager_v1 import types

from millrace.access import channel

PREFIX = "secret_coordinate::"
METHOD = "/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion"


class SecretMissing(Exception):
    """A configuration refers to a secret that can't be read."""


class Secrets:
    """The Secret Manager at `address`."""

    def __init__(self, address: str, project: str) -> None:
        self._project = project
        request, response = types.AccessSecretVersionRequest.pb(), types.AccessSecretVersionResponse.pb()
        self._request = request
        self._access = channel(address).unary_unary(
            METHOD, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )

    def resolve(self, value: Any) -> Any:
        """A configuration with its secrets filled in.

        Raises:
            SecretMissing: names the secret; the hosted product would pass an empty string instead.
        """
        if isinstance(value, dict):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if isinstance(value, str) and value.startswith(PREFIX):
            return self._read(value.removeprefix(PREFIX))
        return value

    def _read(self, name: str) -> str:
        path = f"projects/{self._project}/secrets/{name}/versions/latest"
        try:
            return str(self._access(self._request(name=path), timeout=10).payload.data.decode())
        except grpc.RpcError as error:
            raise SecretMissing(
                f"secret {name!r} can't be read from Secret Manager: {error.details()}. Add or enable a version"
            ) from None
