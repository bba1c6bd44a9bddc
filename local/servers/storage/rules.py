"""Checks preconditions of requests, and holds and retention of objects; violations are errors of the JSON API."""

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
    """Generations that a request requires of the existing object or bucket; 0 means that none exists."""

    values: dict[str, int]

    @classmethod
    def of(cls, query: Json, prefix: str = "if") -> "Preconditions":
        """Return the preconditions of a query."""
        conditions = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
        return cls({name: int(query[prefix + name]) for name in conditions if prefix + name in query})

    def check(self, resource: Json | None, *, reading: bool = False) -> None:
        """Raise StorageError 412, or 304 for a read whose `NotMatch` fails."""
        for name, required in self.values.items():
            field = "metageneration" if name.startswith("Meta") else "generation"
            actual = int(resource[field]) if resource else 0
            if (actual == required) == name.endswith("NotMatch"):
                if reading and name.endswith("NotMatch"):
                    raise StorageError(304, "notModified", "Not Modified")
                raise StorageError(
                    412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."
                )


def retained_until(bucket: Json, resource: Json) -> datetime | None:
    """Return the end of an object's retention; None without a retention policy."""
    seconds = (bucket.get("retentionPolicy") or {}).get("retentionPeriod")
    return datetime.fromisoformat(resource["timeCreated"]) + timedelta(seconds=int(seconds)) if seconds else None


def check_removable(bucket: Json, resource: Json, now: datetime) -> None:
    """Raise StorageError 403 for an object that is held or retained."""
    name = f"{resource['bucket']}/{resource['name']}"
    for field, kind in HOLDS.items():
        if resource.get(field):
            text = f"Object '{name}' is under active {kind} hold and cannot be deleted, overwritten or archived"
            raise StorageError(403, "forbidden", f"{text} until the hold is removed.")
    until = retained_until(bucket, resource)
    if until and until > now:
        text = f"Object '{name}' is subject to bucket's retention policy and cannot be deleted, overwritten or archived"
        raise StorageError(403, "retentionPolicyNotMet", f"{text} until {until.isoformat()}")


def check_bucket_change(current: Json, changed: Json) -> None:
    """Raise StorageError 403 for a change that weakens a locked retention policy."""
    old, new = current.get("retentionPolicy") or {}, changed.get("retentionPolicy") or {}
    if old.get("isLocked") and int(new.get("retentionPeriod") or 0) < int(old["retentionPeriod"]):
        raise StorageError(403, "forbidden", f"the retention policy of {current['name']} is locked: it can only grow")
