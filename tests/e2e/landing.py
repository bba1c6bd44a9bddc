"""Lands rows of carriers without a sync: objects, then the manifest that announces them."""

import io
import itertools
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.domain import names
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.lake.footers import count_rows
from millrace.lake.store import Lake

SOURCE, STREAM = "airport_ops", "airlines"
SCHEMA = pa.schema(
    [
        ("_airbyte_raw_id", pa.string()),
        ("_airbyte_extracted_at", pa.int64()),
        ("_airbyte_generation_id", pa.int64()),
        ("carrier", pa.string()),
        ("name", pa.string()),
        ("updated_at", pa.timestamp("us", "UTC")),
        ("_ab_cdc_lsn", pa.int64()),
        ("_ab_cdc_updated_at", pa.string()),
        ("_ab_cdc_deleted_at", pa.string()),
    ]
)
LSN = 1_000_000_000
_jobs = itertools.count(900_001)


def airline(carrier: str | None, name: str, lsn: int = LSN) -> dict[str, Any]:
    return {
        "_airbyte_raw_id": "x",
        "_airbyte_extracted_at": 1_800_000_000_000,
        "_airbyte_generation_id": 0,
        "carrier": carrier,
        "name": name,
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
        "_ab_cdc_lsn": lsn,
    }


def parquet(rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer)
    return buffer.getvalue()


def land(lake: Lake, *files: bytes, source: str = SOURCE, stream: str = STREAM) -> str:
    """One sync with its manifest; returns the manifest's path."""
    job, now = next(_jobs), datetime.now(UTC)
    objects = []
    for part, data in enumerate(files):
        name = f"{names.sync_prefix(source, stream, job)}{part}.parquet"
        generation = lake.write(name, data)
        rows = count_rows(lake, name)
        objects.append(LandedObject(name=name, generation=generation, size=len(data), rows=rows))
    manifest = LandingManifest(
        source=source,
        stream=stream,
        connection_id="by-hand",
        job_id=job,
        job_created_at=now,
        outcome="succeeded",
        sync_mode="cdc",
        objects=tuple(objects),
        landed_at=now,
    )
    path = names.manifest_path(source, stream, now, "by-hand", job)
    lake.create(path, manifest.model_dump_json().encode())
    return path
