"""Tables between two steps in, bytes out: the table itself, or a file on this machine so that memory is bounded."""

import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa


def park(table: pa.Table, folder: str) -> bytes:
    """Return a table as bytes: the name of a file if there is a folder, else the table itself."""
    if not folder:
        sink = pa.BufferOutputStream()
        _write(table, sink)
        return bytes(sink.getvalue())
    path = Path(folder) / uuid.uuid4().hex
    with pa.OSFile(str(path), "wb") as file:
        _write(table, file)
    return str(path).encode()


def fetch(parcels: Iterable[bytes], folder: str) -> Iterator[pa.Table]:
    """Yield the parked tables, one at a time."""
    for parcel in parcels:
        yield pa.ipc.open_stream(pa.memory_map(parcel.decode()) if folder else parcel).read_all()


def _write(table: pa.Table, sink: pa.NativeFile) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
