"""A file in a lake and a batch of it; what the steps make of it, whole or in parts."""

import io
from collections import Counter
from typing import Any

import cramjam
import fastavro
import pyarrow.parquet as pq

from beam_job.attempts import Run, stage
from beam_job.engines.plain import run_steps
from beam_job.steps.work import Work
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Batch, BatchObject, Staged
from millrace.lake.avro import decoded_blocks, encode_number, read_header
from tests.support.in_process import MemoryLake
from tests.support.merging import NOON

TEXT, LONG = ["null", "string"], ["null", "long"]
FIELDS = {
    "_airbyte_raw_id": TEXT,
    "_airbyte_extracted_at": LONG,
    "_airbyte_generation_id": LONG,
    "id": LONG,
    "name": TEXT,
    "amount": ["null", "double"],
    "_ab_cdc_lsn": LONG,
    "_ab_cdc_updated_at": TEXT,
    "_ab_cdc_deleted_at": TEXT,
}
MARKER = b"a marker in text"
Outcome = tuple[int, int, Any, list[dict[str, Any]]]


def avro_file(rows: list[dict[str, Any]], codec: str, block_bytes: int) -> bytes:
    """Write rows as Avro with MARKER between the blocks; a block is closed once it has this size uncompressed."""
    own = {"_airbyte_raw_id": "x", "_airbyte_extracted_at": 1_700_000_000_000, "_airbyte_generation_id": 0}
    fields = [{"name": name, "type": kind, "default": None} for name, kind in FIELDS.items()]
    schema = fastavro.parse_schema({"type": "record", "name": "row", "fields": fields})
    buffer = io.BytesIO()
    every = [own | row for row in rows]
    by_fastavro = "null" if codec == "zstandard" else codec
    fastavro.writer(buffer, schema, every, codec=by_fastavro, sync_interval=block_bytes, sync_marker=MARKER)
    return _zstandard(buffer.getvalue()) if codec == "zstandard" else buffer.getvalue()


def _zstandard(data: bytes) -> bytes:
    """Compress the blocks of a file, for which fastavro has no library here."""
    header = read_header(io.BytesIO(data)).replace(b"\x08null", b"\x12zstandard")
    blocks = [(rows, bytes(cramjam.zstd.compress(plain))) for rows, plain in decoded_blocks(data)]
    coded = [encode_number(rows) + encode_number(len(packed)) + packed + MARKER for rows, packed in blocks]
    return header + b"".join(coded)


def landed(data: bytes, rows: int | None, name: str = "raw/a.parquet") -> tuple[MemoryLake, Batch]:
    """Return a lake with one object, and a batch of it for Dataflow."""
    lake = MemoryLake()
    obj = BatchObject(
        name=name,
        generation=lake.write(name, data),
        size=len(data),
        rows=rows,
        job_id=1,
        epoch=0,
        generation_id=0,
        manifest=0,
    )
    return lake, Batch(
        id="b",
        source="shop",
        stream="orders",
        engine="dataflow",
        manifests=("m",),
        objects=(obj,),
        head_epoch=0,
        opened_at=NOON,
    )


def outcome(lake: MemoryLake, contract: StreamContract, batch: Batch, run: Run | None = None) -> Outcome:
    """Stage a batch: rows in and superseded, the quarantine, and the staged rows in the order of their file."""

    def plainly(stream: StreamContract, rejected: dict[int, str], attempt: str) -> None:
        run_steps(Work(lake, stream, batch, attempt), 2, rejected)

    staged = stage(lake, contract, batch, run or plainly)
    paths = (*staged.upserts, *staged.deletes)
    rows = [row for path in paths for row in pq.read_table(io.BytesIO(lake.read(path))).to_pylist()]
    return staged.rows_in, staged.superseded, quarantine(staged), sorted(rows, key=lambda row: row["_row"])


def quarantine(staged: Staged) -> Counter[Any]:
    """Return the numbers of quarantined rows by reason, position and detail."""
    counts: Counter[Any] = Counter()
    for q in staged.quarantined:
        counts[q.reason, q.row, q.detail] += q.rows
    return counts
