"""Secrets in Secret Manager as blocks: the document holds a reference, the value is read on use."""

from google.cloud.secretmanager import SecretManagerServiceClient
from prefect_gcp.credentials import GcpCredentials
from prefect_gcp.secret_manager import GcpSecret
from pydantic import Field

from millrace.secrets import local_client, read_secret


class MillraceCredentials(GcpCredentials):
    """Who we are at Google: the environment's own identity, or nobody at a local `endpoint`."""

    _block_type_name = "Millrace Credentials"
    _block_type_slug = "millrace-credentials"

    endpoint: str = Field(default="", description="Address of a Secret Manager other than Google's.")

    def block_initialization(self) -> None:
        """Look for credentials only where some are needed."""
        if not self.endpoint:
            super().block_initialization()

    def get_secret_manager_client(self) -> SecretManagerServiceClient:
        """A client of Google's Secret Manager, or of the one at `endpoint`."""
        if not self.endpoint:
            return super().get_secret_manager_client()
        return local_client(self.endpoint)


class MillraceSecret(GcpSecret):
    """One secret in Secret Manager, by name."""

    _block_type_name = "Millrace Secret"
    _block_type_slug = "millrace-secret"

    gcp_credentials: MillraceCredentials

    def value(self) -> str:
        """The secret's newest value.

        Raises:
            SecretError: it is missing, disabled or empty.
            ServiceUnavailable: Secret Manager did not answer.
        """
        return read_secret(self.gcp_credentials, self.secret_name, self.secret_version)
