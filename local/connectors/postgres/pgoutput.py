"""Messages of the plugin `pgoutput`, protocol version 1, in; relations and changes of rows out.

https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import unpack_from

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Unchanged:
    """The value of a large column that an update did not change; the log does not have it."""


UNCHANGED = Unchanged()
Value = str | None | Unchanged
Row = dict[str, Value]


@dataclass(frozen=True)
class Relation:
    """A table as it was at that point of the log: pairs of its columns' names and (type, modifier)."""

    schema: str
    name: str
    columns: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Begin:
    """The begin of a transaction, with the time of its commit."""

    at: datetime


@dataclass(frozen=True)
class Commit:
    """The end of a transaction; the log was read up to `end`."""

    end: int


@dataclass(frozen=True)
class Change:
    """A changed row: `old` has its key before, or all of it if it is `whole`; `new` is None for a delete."""

    relation: Relation
    old: Row | None
    new: Row | None
    whole: bool = False


@dataclass(frozen=True)
class Truncate:
    """Tables that were emptied."""

    relations: tuple[Relation, ...]


Message = Begin | Commit | Change | Truncate | None


class Decoder:
    """Decodes messages one after the other; it remembers the relations that they name."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}

    def decode(self, data: bytes) -> Message:
        """Return what a message says, None for one without rows."""
        kind = chr(data[0])
        if kind == "B":
            (microseconds,) = unpack_from(">q", data, 9)
            return Begin(EPOCH + timedelta(microseconds=microseconds))
        if kind == "C":
            return Commit(unpack_from(">Q", data, 10)[0])
        if kind == "R":
            self._relation(data)
        elif kind in "IUD":
            return self._change(kind, data)
        elif kind == "T":
            (count,) = unpack_from(">I", data, 1)
            return Truncate(tuple(self._relations[n] for n in unpack_from(f">{count}I", data, 6)))
        return None

    def _relation(self, data: bytes) -> None:
        (number,) = unpack_from(">I", data, 1)
        schema, at = _text(data, 5)
        name, at = _text(data, at)
        (count,) = unpack_from(">H", data, at + 1)
        at += 3
        columns = []
        for _ in range(count):
            column, at = _text(data, at + 1)  # after its flags
            kind, modifier = unpack_from(">Ii", data, at)
            at += 8
            columns.append((column, kind, modifier))
        self._relations[number] = Relation(schema or "pg_catalog", name, tuple(columns))

    def _change(self, kind: str, data: bytes) -> Change:
        relation, at = self._relations[unpack_from(">I", data, 1)[0]], 5
        old: Row | None = None
        whole = chr(data[at]) == "O"
        if chr(data[at]) in "KO":
            old, at = _row(relation, data, at + 1)
        if kind == "D":
            return Change(relation, old, None)
        return Change(relation, old, _row(relation, data, at + 1)[0], whole)


def _row(relation: Relation, data: bytes, at: int) -> tuple[Row, int]:
    (count,) = unpack_from(">H", data, at)
    at += 2
    row: Row = {}
    for name, _, _ in relation.columns[:count]:
        kind = data[at]
        at += 1
        if kind == 0x74:  # t: a text
            (size,) = unpack_from(">I", data, at)
            row[name] = data[at + 4 : at + 4 + size].decode()
            at += 4 + size
        else:
            row[name] = UNCHANGED if kind == 0x75 else None  # u, n
    return row, at


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1
