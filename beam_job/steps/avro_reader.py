"""An Avro file's header and parts in; Arrow tables out: of all types and codecs, by polars where it reads them right.

Polars decodes primitive types and null, ten times faster than fastavro, which decodes all others. Both are given
blocks without compression, with a schema of our own that has the same bytes but no names, defaults or logical types
of the file.
"""

import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa

from beam_job.steps.avro_kinds import END_VALUES, PRIMITIVES, Kind, from_plain, wire_record
from beam_job.steps.avro_types import read_fields
from millrace.lake.avro import block_file, decoded_blocks, read_metadata

GROUP_BYTES = 32 << 20  # decompressed blocks that are decoded at once
SLICE_ROWS = 1 << 15  # rows that are Python objects at once


class AvroReader:
    """The rows of one Avro file.

    Raises:
        ValueError: at construction, if the header has no readable schema of records.
    """

    def __init__(self, header: bytes) -> None:
        metadata = read_metadata(header)
        self._fields = read_fields(json.loads(metadata["avro.schema"]))
        self._wire = json.dumps(wire_record(self._fields)).encode()
        self._last: tuple[str, str] | None = None  # the column that tells the row at the end, and its primitive type
        ends = [kind.end for kind in self._fields.values()]
        self._end = b"".join(end or b"" for end in ends)
        if None not in ends:
            types = [_primitive(kind) if kind.plain else "" for kind in self._fields.values()]
            self._last = next(((f"f{n}", name) for n, name in enumerate(types) if name in END_VALUES), None)
        self.schema = pa.schema([(name, kind.arrow) for name, kind in self._fields.items()])

    def tables(self, part: bytes, columns: list[str] | None) -> Iterator[pa.Table]:
        """Yield the rows of a part, in order, with all columns or these.

        Raises:
            ValueError: the part does not have exactly the rows that its blocks announce.
        """
        wanted = {
            f"f{number}": (name, kind)
            for number, (name, kind) in enumerate(self._fields.items())
            if columns is None or name in columns
        }
        fast = self._last if all(kind.plain for _, kind in wanted.values()) else None
        for rows, data in _groups(part):
            if not wanted:
                yield pa.table({"": pa.nulls(rows)}).select([])
                continue
            table = self._decode_fast(rows, data, wanted, *fast) if fast else None
            if table is not None:
                yield table
            else:
                yield from self._decode(rows, data, wanted)

    def _decode_fast(
        self, rows: int, data: bytes, wanted: dict[str, tuple[str, Kind]], last: str, last_type: str
    ) -> pa.Table | None:
        """Return the rows as polars decodes them; None when it can not."""
        file = io.BytesIO(block_file(self._wire, rows + 1, data + self._end))
        os.environ["RUST_BACKTRACE"] = "0"  # a damaged file makes polars panic, which is caught: log no backtrace of it
        try:
            table = pl.read_avro(file, columns=list({**wanted, last: None})).to_arrow()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            return None  # the complete decoder tells why
        if table.num_rows != rows + 1 or table.column(last)[rows].as_py() != END_VALUES[last_type]:
            return None
        table = table.slice(0, rows)
        columns = [
            from_plain(table.column(key).cast(PRIMITIVES[_primitive(kind)]).combine_chunks(), kind.arrow)
            for key, (_, kind) in wanted.items()
        ]
        return pa.table(columns, schema=_schema(wanted))

    def _decode(self, rows: int, data: bytes, wanted: dict[str, tuple[str, Kind]]) -> Iterator[pa.Table]:
        (block,) = fastavro.block_reader(io.BytesIO(block_file(self._wire, rows, data)))
        for part in _slices(block):
            columns = [kind.to_arrow([row[key] for row in part]) for key, (_, kind) in wanted.items()]
            rows -= len(part)
            yield pa.table(columns, schema=_schema(wanted))
        if rows or block.bytes_.read(1):
            raise ValueError("the Avro file has a block with other rows than it announces")


def _slices(block: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a block, a slice at a time.

    Raises:
        ValueError: they can't be decoded.
    """
    values = iter(block)
    while True:
        try:
            part = list(itertools.islice(values, SLICE_ROWS))
        except UnicodeDecodeError as error:
            raise ValueError(f"the Avro file is damaged: a text in it is not UTF-8 ({error.reason})") from error
        except Exception as error:  # fastavro raises whatever the damaged bytes lead it to
            what = f"{type(error).__name__}: {error}"
            raise ValueError(f"the Avro file is damaged: its rows do not match its schema ({what})") from error
        if not part:
            return
        yield part


def _primitive(kind: Kind) -> str:
    """Return the name of a plain kind's type."""
    branches = kind.wire if isinstance(kind.wire, list) else [kind.wire]
    return str(next(branch for branch in branches if branch != "null"))


def _schema(wanted: dict[str, tuple[str, Kind]]) -> pa.Schema:
    return pa.schema([(name, kind.arrow) for name, kind in wanted.values()])


def _groups(part: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield blocks with rows, joined to about GROUP_BYTES."""
    waiting: list[bytes] = []
    rows = size = 0
    for count, data in decoded_blocks(part):
        if count == 0:
            continue
        waiting.append(data)
        rows, size = rows + count, size + len(data)
        if size >= GROUP_BYTES:
            yield rows, b"".join(waiting)
            waiting, rows, size = [], 0, 0
    if rows:
        yield rows, b"".join(waiting)
