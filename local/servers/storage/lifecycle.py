"""Finds the objects that a bucket's lifecycle rules delete at a time.

https://cloud.google.com/storage/docs/lifecycle
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from local.servers.storage.rules import Json

# Conditions that are not evaluated here: a rule that has one of them, or another action, does nothing.
KNOWN = {
    "age",
    "createdBefore",
    "isLive",
    "numNewerVersions",
    "matchesPrefix",
    "matchesSuffix",
    "daysSinceNoncurrentTime",
    "noncurrentTimeBefore",
    "matchesStorageClass",
}


def doomed(rules: Iterable[Json], resources: Iterable[Json], now: datetime) -> Iterator[Json]:
    """The generations that a bucket's rules delete, out of all of its generations."""
    deleting = [rule["condition"] for rule in rules if rule.get("action", {}).get("type") == "Delete"]
    by_name: dict[str, list[Json]] = defaultdict(list)
    for resource in resources:
        by_name[resource["name"]].append(resource)
    for generations in by_name.values():
        newest_first = sorted(generations, key=lambda r: int(r["generation"]), reverse=True)
        for newer, resource in enumerate(newest_first):
            if any(fits(condition, resource, newer, now) for condition in deleting):
                yield resource


def fits(condition: Json, resource: Json, newer: int, now: datetime) -> bool:
    """Return True when a generation with `newer` newer ones meets all of a rule's conditions, at least one."""
    if not condition or not set(condition) <= KNOWN:
        return False
    created, name = datetime.fromisoformat(resource["timeCreated"]), resource["name"]
    left = datetime.fromisoformat(resource["timeDeleted"]) if "timeDeleted" in resource else None
    tests: dict[str, Callable[[Any], bool]] = {
        "age": lambda days: created + timedelta(days=days) <= now,
        "createdBefore": lambda day: created.date().isoformat() < day,
        "isLive": lambda live: (left is None) == live,
        "numNewerVersions": lambda count: newer >= count,
        "matchesPrefix": lambda prefixes: name.startswith(tuple(prefixes)),
        "matchesSuffix": lambda suffixes: name.endswith(tuple(suffixes)),
        "daysSinceNoncurrentTime": lambda days: left is not None and left + timedelta(days=days) <= now,
        "noncurrentTimeBefore": lambda day: left is not None and left.date().isoformat() < day,
        "matchesStorageClass": lambda classes: resource["storageClass"] in classes,
    }
    return all(tests[key](value) for key, value in condition.items())
