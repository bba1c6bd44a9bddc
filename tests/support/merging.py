"""One stream, its lake and its warehouse for tests of the merge: land rows, merge them, read the table."""

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from beam_job.batches import Limits
from beam_job.merge import merge_stream
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.lake.footers import count_rows
from millrace.lake.store import Lake
from millrace.warehouse.duckdb.engine import file_of
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PARQUET = pa.schema(
    [
        ("_airbyte_raw_id", pa.string()),
        ("_airbyte_extracted_at", pa.int64()),
        ("_airbyte_generation_id", pa.int64()),
        ("id", pa.int64()),
        ("name", pa.string()),
        ("amount", pa.int64()),
        ("_ab_cdc_lsn", pa.int64()),
        ("_ab_cdc_updated_at", pa.string()),
        ("_ab_cdc_deleted_at", pa.string()),
    ]
)
GONE_AT = "2026-01-01T12:00:00Z"


def contract(**changes: Any) -> StreamContract:
    """Return a change stream `shop.orders` with the key `id`."""
    fields: dict[str, Any] = {
        "source": "shop",
        "stream": "orders",
        "mode": "cdc",
        "key": ["id"],
        "order": ["_ab_cdc_lsn"],
        "columns": {
            "id": {"type": "int64", "nullable": False},
            "name": {"type": "string"},
            "amount": {"type": "int64"},
        },
    }
    return StreamContract.model_validate(fields | changes)


def upsert(id: int | None, lsn: int, name: str = "", amount: int | None = None) -> dict[str, Any]:
    return {"id": id, "name": name or f"v{lsn}", "amount": amount, "_ab_cdc_lsn": lsn}


def delete(id: int, lsn: int) -> dict[str, Any]:
    return {"id": id, "_ab_cdc_lsn": lsn, "_ab_cdc_deleted_at": GONE_AT}


def parquet(
    rows: list[dict[str, Any]], schema: pa.Schema = PARQUET, compression: str = "snappy", *, statistics: bool = True
) -> bytes:
    """Write a file as Airbyte's destination does."""
    own = {"_airbyte_raw_id": "x", "_airbyte_extracted_at": 1_700_000_000_000, "_airbyte_generation_id": 0}
    table = pa.Table.from_pylist([own | row for row in rows], schema)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression, write_statistics=statistics)
    return buffer.getvalue()


def avro(rows: list[dict[str, Any]], codec: str = "snappy", schema: pa.Schema = PARQUET) -> bytes:
    """Write the same rows as Avro."""
    kinds = {pa.int64(): "long", pa.string(): "string"}
    fields = [{"name": f.name, "type": ["null", kinds[f.type]], "default": None} for f in schema]
    own = {"_airbyte_raw_id": "x", "_airbyte_extracted_at": 1_700_000_000_000, "_airbyte_generation_id": 0}
    buffer = io.BytesIO()
    parsed = fastavro.parse_schema({"type": "record", "name": "record", "fields": fields})
    fastavro.writer(buffer, parsed, [own | row for row in rows], codec=codec)
    return buffer.getvalue()


@dataclass
class Merging:
    """One stream's lake and warehouse."""

    lake: Lake
    folder: Path
    contract: StreamContract = field(default_factory=contract)
    limits: Limits = field(default_factory=lambda: Limits(plain_max_bytes=0))
    jobs: int = 0

    def __post_init__(self) -> None:
        url = f"duckdb:///{self.folder}/warehouse.duckdb"
        self.warehouse = DuckDBWarehouse(url, f"duckdb:///{self.folder}/published.duckdb", 20)

    def put(self, data: bytes, ending: str = "parquet", job: int | None = None, part: int = 0) -> LandedObject:
        """Write one object of a sync."""
        job = self.jobs + 1 if job is None else job
        name = f"{names.sync_prefix(self.contract.source, self.contract.stream, job)}{part}.{ending}"
        generation = self.lake.write(name, data)
        return LandedObject(name=name, generation=generation, size=len(data), rows=count_rows(self.lake, name))

    def land(
        self, *objects: LandedObject, rows: list[dict[str, Any]] | None = None, epoch: int = 0, **options: Any
    ) -> str:
        """Write a sync with its manifest, with `options` as further fields, and return the manifest's path."""
        if rows is not None:
            objects = (*objects, self.put(parquet(rows)))
        self.jobs += 1
        created = NOON + timedelta(hours=self.jobs)
        manifest = LandingManifest.model_validate(
            {
                "source": self.contract.source,
                "stream": self.contract.stream,
                "connection_id": "c",
                "job_id": self.jobs,
                "job_created_at": created,
                "outcome": "succeeded",
                "sync_mode": self.contract.mode,
                "epoch": epoch,
                "objects": objects,
                "landed_at": created,
            }
            | options
        )
        path = names.manifest_path(self.contract.source, self.contract.stream, created, "c", self.jobs)
        self.lake.create(path, manifest.model_dump_json().encode())
        return path

    def merge(self) -> list[Balance]:
        return merge_stream(
            self.lake, self.warehouse, None, self.contract, limits=self.limits, run_id="test", clock=lambda: NOON
        )

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(file_of(self.warehouse.url)), read_only=True) as db:
            return db.execute(sql).fetchall()

    def live(self) -> dict[int, str]:
        """Return the live rows: id → name."""
        return dict(self.query("SELECT id, name FROM raw_shop.orders_live"))
