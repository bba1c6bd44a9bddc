"""What may be done: preconditions of requests, holds and retention of objects. Refusals are errors of the JSON API."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

Json = dict[str, Any]
HOLDS = {"temporaryHold": "Temporary", "eventBasedHold": "Event-Based"}


class StorageError(Exception):
    """An answer other than 2xx."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Preconditions:
    """What must hold of the object or bucket that is there (0: none) for a request to be carried out."""

    values: dict[str, int]

    @classmethod
    def of(cls, query: Json, prefix: str = "if") -> "Preconditions":
        """Those that a query has."""
        wanted = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
        return cls({name: int(query[prefix + name]) for name in wanted if prefix + name in query})

    def check(self, there: Json | None, *, reading: bool = False) -> None:
        """Raise StorageError 412, or 304 for a read whose `NotMatch` fails."""
        for name, wanted in self.values.items():
            field = "metageneration" if name.startswith("Meta") else "generation"
            actual = int(there[field]) if there else 0
            if (actual == wanted) == name.endswith("NotMatch"):
                if reading and name.endswith("NotMatch"):
                    raise StorageError(304, "notModified", "Not Modified")
                raise StorageError(
                    412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."
                )


def retained_until(bucket: Json, there: Json) -> datetime | None:
    """When a bucket's retention policy lets an object go; None without one."""
    seconds = (bucket.get("retentionPolicy") or {}).get("retentionPeriod")
    return datetime.fromisoformat(there["timeCreated"]) + timedelta(seconds=int(seconds)) if seconds else None


def check_removable(bucket: Json, there: Json, now: datetime) -> None:
    """Refuse to delete, replace or archive an object that is held or retained."""
    name = f"{there['bucket']}/{there['name']}"
    for field, kind in HOLDS.items():
        if there.get(field):
            text = f"Object '{name}' is under active {kind} hold and cannot be deleted, overwritten or archived"
            raise StorageError(403, "forbidden", f"{text} until the hold is removed.")
    until = retained_until(bucket, there)
    if until and until > now:
        text = f"Object '{name}' is subject to bucket's retention policy and cannot be deleted, overwritten or archived"
        raise StorageError(403, "retentionPolicyNotMet", f"{text} until {until.isoformat()}")


def check_bucket_change(there: Json, changed: Json) -> None:
    """Refuse to weaken a retention policy that is locked."""
    old, new = there.get("retentionPolicy") or {}, changed.get("retentionPolicy") or {}
    if old.get("isLocked") and int(new.get("retentionPeriod") or 0) < int(old["retentionPeriod"]):
        raise StorageError(403, "forbidden", f"the retention policy of {there['name']} is locked: it can only grow")
