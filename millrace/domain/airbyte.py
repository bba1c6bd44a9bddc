"""The body of Airbyte's webhook for an ended sync, as types; other fields are ignored."""

import re

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from millrace.domain import names

SOURCE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class AirbyteConnection(_Part):
    """The connection of the sync; its name is the name of its source."""

    name: str


class AirbyteSync(_Part):
    """The sync; versions of Airbyte name the field of its outcome differently."""

    connection: AirbyteConnection
    job_id: int = Field(alias="jobId", ge=1)
    success: bool = Field(validation_alias=AliasChoices("success", "isSuccess"))
    error: str | None = Field(default=None, alias="errorMessage")


class AirbyteCompleted(_Part):
    """The body of the webhook."""

    data: AirbyteSync

    @property
    def topic(self) -> str:
        """Return the topic of this message."""
        return names.AIRBYTE_COMPLETED
