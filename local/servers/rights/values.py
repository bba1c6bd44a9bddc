"""What Terraform's expressions have as values beside JSON's: sets, and values that only Google knows."""

from collections.abc import Iterator, Mapping
from typing import Any


class Unknown(str):
    """A value that is known only after an apply; what is made out of it is unknown, too."""

    def __new__(cls, text: str = "unknown") -> "Unknown":
        """Return a marker with a text for messages."""
        return super().__new__(cls, f"({text})" if not text.startswith("(") else text)


class SetOf(list[Any]):
    """A set, whose `for_each` has each item as its key."""


def is_known(value: Any) -> bool:
    """Return True if a value has no unknown part, however deep."""
    if isinstance(value, Mapping):
        return all(is_known(part) for item in value.items() for part in item)
    return all(map(is_known, value)) if isinstance(value, list) else not isinstance(value, Unknown)


def member(value: Any, key: Any) -> Any:
    """Return an attribute or an item of a value. Raises KeyError, IndexError or TypeError without one."""
    if isinstance(value, Unknown):
        return Unknown(f"{value[1:-1]}.{key}")
    return value[int(key)] if isinstance(value, list) else value[key]


def as_list(value: Any) -> Any:
    """Return what `[*]` makes of a value: a list, or an unknown value."""
    if isinstance(value, list | Unknown):
        return value
    return [] if value is None else [value]


def pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the keys and items of a collection; of an unknown one a single pair that is unknown."""
    if isinstance(value, Unknown):
        yield Unknown(f"{value[1:-1]}.key"), Unknown(f"{value[1:-1]}.value")
    elif isinstance(value, Mapping):
        yield from value.items()
    else:
        yield from ((item, item) for item in value) if isinstance(value, SetOf) else enumerate(value)
