"""A block with Airbyte's address and references to its credentials; opened, a client of Airbyte's API."""

from prefect.blocks.core import Block
from pydantic import Field

from blocks.secrets import MillraceSecret
from millrace.airbyte.client import AirbyteClient


class MillraceAirbyte(Block):
    """The public API of an Airbyte."""

    _block_type_name = "Millrace Airbyte"
    _block_type_slug = "millrace-airbyte"

    url: str = Field(description="https://<host>/api/public/v1")
    client_id: MillraceSecret
    client_secret: MillraceSecret
    poll_s: float = Field(default=10, description="Seconds between two requests for a running job.")
    sync_timeout_s: float = Field(default=21600, description="Seconds after which a job is cancelled.")
    landing_timeout_s: float = Field(default=600, description="Seconds to wait for all rows in the lake.")

    def open(self) -> AirbyteClient:
        """Return a client; its credentials are read from Secret Manager now."""
        return AirbyteClient(self.url, self.client_id.value(), self.client_secret.value())
