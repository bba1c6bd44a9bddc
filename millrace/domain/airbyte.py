"""What Airbyte posts when a sync has ended; more fields than these are passed over."""

import re

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from millrace.domain import names

SOURCE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class AirbyteConnection(_Part):
    """The connection that was synced; we name ours after their sources."""

    name: str


class AirbyteSync(_Part):
    """The sync: Airbyte's versions name its outcome differently."""

    connection: AirbyteConnection
    job_id: int = Field(alias="jobId", ge=1)
    success: bool = Field(validation_alias=AliasChoices("success", "isSuccess"))
    error: str | None = Field(default=None, alias="errorMessage")


class AirbyteCompleted(_Part):
    """The body of the webhook."""

    data: AirbyteSync

    @property
    def topic(self) -> str:
        """Topic it is published to."""
        return names.AIRBYTE_COMPLETED
