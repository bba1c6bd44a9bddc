"""The landing manifest: the objects that one sync of one stream wrote to the lake."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from millrace.domain.types import Frozen, Name

Count = Annotated[int, Field(ge=0)]


class LandedObject(Frozen):
    """One object that a sync wrote. `rows` is None when its footer can't be read; the merge quarantines it."""

    name: str
    generation: int
    size: Count
    rows: Count | None


class LandingManifest(Frozen):
    """All objects that one sync of one stream wrote to the lake; created once, never changed.

    `older_removed`: Airbyte deleted the objects of the generation before this one, as a refresh that removes records
    does. An overwrite stream's manifest without objects is an empty snapshot, another's a refresh that found no row.
    """

    v: Literal[1] = 1
    source: Name
    stream: Name
    connection_id: str
    job_id: int
    job_created_at: datetime
    outcome: Literal["succeeded", "failed", "cancelled"]
    sync_mode: str
    generation_id: Count = 0
    epoch: Count = 0
    older_removed: bool = False
    objects: tuple[LandedObject, ...]
    landed_at: datetime

    @property
    def rows(self) -> int:
        """Return the number of rows of the readable objects."""
        return sum(o.rows or 0 for o in self.objects)

    def same_sync(self, other: "LandingManifest") -> bool:
        """Return true when both describe the same sync with the same objects."""
        mine = (self.connection_id, self.job_id, self.job_created_at, set(self.objects))
        return mine == (other.connection_id, other.job_id, other.job_created_at, set(other.objects))
