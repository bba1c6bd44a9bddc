"""Blocks with references to secrets in Secret Manager; a value is read on each use."""

from google.cloud.secretmanager import SecretManagerServiceClient
from pydantic import Field

from millrace.secrets import local_client, read_secret
from millrace.without_vertex import without_vertex

with without_vertex():
    from prefect_gcp.credentials import GcpCredentials
    from prefect_gcp.secret_manager import GcpSecret


class MillraceCredentials(GcpCredentials):
    """The identity for Google: the environment's own, or none for a server at `endpoint`."""

    _block_type_name = "Millrace Credentials"
    _block_type_slug = "millrace-credentials"

    endpoint: str = Field(default="", description="Address of a Secret Manager other than Google's.")

    def block_initialization(self) -> None:
        """Look for credentials unless an `endpoint` is set."""
        if not self.endpoint:
            super().block_initialization()

    def get_secret_manager_client(self) -> SecretManagerServiceClient:
        """Return a client of Google's Secret Manager, or of the server at `endpoint`."""
        if not self.endpoint:
            return super().get_secret_manager_client()
        return local_client(self.endpoint)


class MillraceSecret(GcpSecret):
    """The reference to one secret in Secret Manager, by name."""

    _block_type_name = "Millrace Secret"
    _block_type_slug = "millrace-secret"

    gcp_credentials: MillraceCredentials

    def value(self) -> str:
        """Return the secret's newest value.

        Raises:
            SecretError: the secret is missing, disabled or empty.
            ServiceUnavailable: Secret Manager did not answer.
        """
        return read_secret(self.gcp_credentials, self.secret_name, self.secret_version)
