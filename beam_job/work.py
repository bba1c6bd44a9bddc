"""The work at hand of a staging step, where it leaves files and reports, and tables as bytes."""

import io
import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from contracts import names
from contracts.batch import Batch
from contracts.stream import StreamContract
from lake.store import Lake


@dataclass(frozen=True)
class Work:
    """One batch of one stream, and where its files are."""

    lake: Lake
    contract: StreamContract
    batch: Batch

    def path(self, kind: str, place: int, ending: str) -> str:
        """Name of a file that a step leaves for one object or shard."""
        return f"{names.staging_prefix(self.batch.id)}{kind}-{place:05d}{ending}"

    def report(self, kind: str, place: int, body: dict[str, object]) -> None:
        """Leave counts for the driver."""
        self.lake.write(self.path(kind, place, ".json"), json.dumps(body).encode(), "application/json")


def write_parquet(work: Work, path: str, table: pa.Table) -> None:
    """Write one staging or quarantine file; without dictionaries it is smaller and twice as quick."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="snappy", use_dictionary=False)
    work.lake.write(path, buffer.getvalue())


def to_ipc(table: pa.Table) -> bytes:
    """A table as bytes to shuffle."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_ipc(data: bytes) -> pa.Table:
    """The table again."""
    return pa.ipc.open_stream(data).read_all()
