"""A contract and keys in; a request to erase their rows permanently, with the keys as text, out."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from millrace.contracts.stream import StreamContract
from millrace.domain.errors import EventRefused
from millrace.domain.ledger import LedgerEntry
from millrace.domain.types import DECIMAL, DECIMAL_DIGITS, Frozen, Name

LAST_VERSION = "ff" * 32
"""Hex of the maximum version: a row with it in both registers is deleted and can never be overwritten."""


class Erasure(Frozen):
    """A request to erase the rows of a stream's keys permanently; the values of a key are text, in the key's order."""

    v: Literal[1] = 1
    source: Name
    stream: Name
    keys: tuple[tuple[str, ...], ...]
    reason: str
    requested_at: datetime

    @property
    def id(self) -> str:
        """Return the id of the request; the same keys of a stream give the same id."""
        digest = hashlib.sha256(json.dumps(self.keys).encode()).hexdigest()[:12]
        return f"{self.source}-{self.stream}-erase-{digest}"


def make_erasure(contract: StreamContract, keys: Iterable[Mapping[str, Any]], reason: str, at: datetime) -> Erasure:
    """Return the erasure of keys, each a mapping of the key's columns to values.

    Raises:
        EventRefused: the stream has no key, a key has other columns than the contract's, or a value is of another type.
    """
    if not contract.key:
        raise EventRefused(f"{contract.id} has no key by which rows could be erased; delete its files under raw/")
    texts = sorted({_key(contract, key) for key in keys})
    if not texts or not reason.strip():
        raise EventRefused(f"{contract.id}: name at least one key to erase, and a reason")
    return Erasure(
        source=contract.source, stream=contract.stream, keys=tuple(texts), reason=reason.strip(), requested_at=at
    )


def _key(contract: StreamContract, values: Mapping[str, Any]) -> tuple[str, ...]:
    if set(values) != set(contract.key):
        raise EventRefused(
            f"{contract.id}: {dict(values)} is not a valid key; expected columns {', '.join(contract.key)}"
        )
    return key_text(contract, [values[name] for name in contract.key])


def key_text(contract: StreamContract, values: Sequence[Any]) -> tuple[str, ...]:
    """Return a key's values as text, bytes as hex; equal keys give equal texts. Raises EventRefused."""
    shown = (value.hex() if isinstance(value, bytes) else str(value) for value in values)
    return tuple(_text(contract, name, value) for name, value in zip(contract.key, shown, strict=True))


def _text(contract: StreamContract, name: str, value: str) -> str:
    """Return a value as text that both engines parse."""
    kind = contract.columns[name].type
    try:
        return TEXTS["decimal" if DECIMAL.match(kind) else kind](value)
    except (ValueError, InvalidOperation):
        raise EventRefused(f"{contract.id}: {name} = {value!r} is not a valid {kind}") from None


def _bool(value: str) -> str:
    if value.lower() not in ("true", "false"):
        raise ValueError(value)
    return value.lower()


def _decimal(value: str) -> str:
    """Return all digits, without zeros at the end; `Decimal.normalize` rounds to 28 digits."""
    number = Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > DECIMAL_DIGITS:
        raise ValueError(value)
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _instant(value: str) -> str:
    parsed = datetime.fromisoformat(value)
    if parsed.tzinfo is None:
        raise ValueError("a timestamp needs a time zone")
    return parsed.astimezone(UTC).isoformat(sep=" ")


TEXTS: dict[str, Callable[[str], str]] = {
    "string": str,
    "int64": lambda value: str(int(value)),
    "bool": _bool,
    "date": lambda value: date.fromisoformat(value).isoformat(),
    "timestamp": _instant,
    "decimal": _decimal,
    "bytes": lambda value: bytes.fromhex(value).hex(),
}


def erased_entry(erasure: Erasure, matched: int, at: datetime) -> LedgerEntry:
    """Return the ledger entry of an erasure whose `matched` keys had rows; its id stands for the run, as its key."""
    return LedgerEntry(
        kind="erased",
        batch_id=erasure.id,
        source=erasure.source,
        stream=erasure.stream,
        run_id=erasure.id,
        at=at,
        rows_in=len(erasure.keys),
        merged=matched,
        stale=len(erasure.keys) - matched,
        detail=erasure.reason,
    )
