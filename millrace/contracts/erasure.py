"""Keys that are erased for good: what is asked for, and how a key's values are written as text."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from millrace.contracts.stream import StreamContract
from millrace.domain.errors import EventRefused
from millrace.domain.ledger import LedgerEntry
from millrace.domain.types import DECIMAL, Frozen, Name

LAST_VERSION = "ff" * 32
"""Hex of a version above all others: what bears it in both registers is dead, and nothing that comes is newer."""


class Erasure(Frozen):
    """Keys of one stream whose rows are to be empty for ever; the values of a key are text, in the key's order."""

    v: Literal[1] = 1
    source: Name
    stream: Name
    keys: tuple[tuple[str, ...], ...]
    reason: str
    requested_at: datetime

    @property
    def id(self) -> str:
        """The same for the same keys of a stream, whoever asks."""
        digest = hashlib.sha256(json.dumps(self.keys).encode()).hexdigest()[:12]
        return f"{self.source}-{self.stream}-erase-{digest}"


def asked(contract: StreamContract, keys: Iterable[Mapping[str, Any]], reason: str, at: datetime) -> Erasure:
    """The erasure of keys, each a mapping of the key's columns to values.

    Raises:
        EventRefused: the stream has no key, a column is missing or no part of it, or a value is not of its type.
    """
    if not contract.key:
        raise EventRefused(f"{contract.id} has no key by which rows could be erased; delete its files under raw/")
    found = sorted({_key(contract, key) for key in keys})
    if not found or not reason.strip():
        raise EventRefused(f"{contract.id}: name at least one key to erase, and the reason why")
    return Erasure(
        source=contract.source, stream=contract.stream, keys=tuple(found), reason=reason.strip(), requested_at=at
    )


def _key(contract: StreamContract, given: Mapping[str, Any]) -> tuple[str, ...]:
    if set(given) != set(contract.key):
        raise EventRefused(f"{contract.id}: {dict(given)} is no key; give {', '.join(contract.key)}")
    return key_text(contract, [given[name] for name in contract.key])


def key_text(contract: StreamContract, values: Sequence[Any]) -> tuple[str, ...]:
    """A key's values as text, the same for the same key; bytes as hex. Raises EventRefused."""
    shown = (value.hex() if isinstance(value, bytes) else str(value) for value in values)
    return tuple(_text(contract, name, value) for name, value in zip(contract.key, shown, strict=True))


def _text(contract: StreamContract, name: str, value: str) -> str:
    """A value as both engines read it back."""
    kind = contract.columns[name].type
    try:
        return TEXTS["decimal" if DECIMAL.match(kind) else kind](value)
    except (ValueError, InvalidOperation):
        raise EventRefused(f"{contract.id}: {name} = {value!r} is no {kind}") from None


def _bool(value: str) -> str:
    if value.lower() not in ("true", "false"):
        raise ValueError(value)
    return value.lower()


def _instant(value: str) -> str:
    parsed = datetime.fromisoformat(value)
    if parsed.tzinfo is None:
        raise ValueError("an instant needs its zone")
    return parsed.astimezone(UTC).isoformat(sep=" ")


TEXTS: dict[str, Callable[[str], str]] = {
    "string": str,
    "int64": lambda value: str(int(value)),
    "bool": _bool,
    "date": lambda value: date.fromisoformat(value).isoformat(),
    "timestamp": _instant,
    "decimal": lambda value: format(Decimal(value).normalize(), "f"),
    "bytes": lambda value: bytes.fromhex(value).hex(),
}


def erased_entry(erasure: Erasure, found: int, at: datetime) -> LedgerEntry:
    """The fact that keys were erased, of which `found` had rows; the erasure is its run, so that there is one fact."""
    return LedgerEntry(
        kind="erased",
        batch_id=erasure.id,
        source=erasure.source,
        stream=erasure.stream,
        run_id=erasure.id,
        at=at,
        rows_in=len(erasure.keys),
        merged=found,
        stale=len(erasure.keys) - found,
        detail=erasure.reason,
    )
