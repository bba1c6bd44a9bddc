"""A reference to a secret, by which contracts name what must not be in a file."""

from typing import Annotated

from pydantic import Field

from millrace.domain.types import Frozen


class SecretReference(Frozen):
    """The name of a secret in Secret Manager; never its value."""

    secret: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
