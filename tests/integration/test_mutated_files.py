"""Mutations of valid files: whatever a file holds, its stream goes on and each of its rows is accounted for."""

import io
import json
import os
import random
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.in_process import InProcess
from tests.support.merging import contract, parquet

MUTATIONS = int(os.environ.get("MILLRACE_MUTATIONS", "120"))
IN_ONE_STREAM = 40
SEED = int(os.environ.get("MILLRACE_SEED", "2026"))
ROWS = [
    {
        "id": n,
        "v": f"text {n}",
        "amount": n * 1000,
        "price": Decimal(n) / 4,
        "at": datetime(2024, 1, n + 1, 12),
        "day": date(2024, 1, n + 1),
        "clock": time(12, n),
        "tags": [f"a{n}", "b"],
        "nested": {"x": n, "y": {"z": f"deep {n}"}},
        "raw": bytes([n, 255]),
        "_airbyte_extracted_at": 1_700_000_000_000,
    }
    for n in range(8)
]
NESTED = pa.struct([("x", pa.int64()), ("y", pa.struct([("z", pa.string())]))])
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("v", pa.string()),
        ("amount", pa.int64()),
        ("price", pa.decimal128(10, 2)),
        ("at", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
        ("clock", pa.time64("us")),
        ("tags", pa.list_(pa.string())),
        ("nested", NESTED),
        ("raw", pa.binary()),
        ("_airbyte_extracted_at", pa.int64()),
    ]
)
AVRO = {
    "type": "record",
    "name": "r",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "v", "type": ["null", "string"]},
        {"name": "amount", "type": "long"},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "_airbyte_extracted_at", "type": "long"},
    ],
}


def parquet_file(**options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS, SCHEMA), buffer, **options)
    return buffer.getvalue()


def avro_file(codec: str) -> bytes:
    buffer = io.BytesIO()
    names = [field["name"] for field in AVRO["fields"]]  # type: ignore[index]
    fastavro.writer(buffer, AVRO, [{name: row[name] for name in names} for row in ROWS], codec=codec)
    return buffer.getvalue()


KINDS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "parquet, plain": ("parquet", lambda: parquet_file(compression="none", use_dictionary=False)),
    "parquet, snappy": ("parquet", lambda: parquet_file(compression="snappy")),
    "parquet, zstd, checksums": ("parquet", lambda: parquet_file(compression="zstd", write_page_checksum=True)),
    "avro, null": ("avro", lambda: avro_file("null")),
    "avro, deflate": ("avro", lambda: avro_file("deflate")),
}


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Change some bytes: flipped bits, other values, a part cut out, doubled, or moved, or the end cut off."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        at, size = chance.randrange(len(changed)), chance.choice([1, 1, 2, 4, 8, 40])
        match chance.randrange(6):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
            case 2:
                changed[at : at + size] = bytes(chance.choice([0, 255, chance.randrange(256)]) for _ in range(size))
            case 3:
                del changed[at : at + size]
            case 4:
                changed[at:at] = changed[at : at + size]
            case _:
                if chance.random() < 0.2:
                    del changed[at:]
        if not changed:
            return b""
    return bytes(changed)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_no_mutated_file_stops_its_stream(kind: str) -> None:
    ending, make = KINDS[kind]
    data, chance = make(), random.Random(f"{SEED} {kind}")
    left = -(-MUTATIONS // len(KINDS))
    while left > 0:
        merge_beside_good_files([mutate(data, chance) for _ in range(min(left, IN_ONE_STREAM))], ending)
        left -= IN_ONE_STREAM


def merge_beside_good_files(files: list[bytes], ending: str) -> None:
    """Merge each file beside a good one, in one stream, and check what became of both."""
    columns = {"id": {"type": "int64", "nullable": False}, "v": {"type": "string"}, "nested": {"type": "json"}}
    merging = InProcess(contract(mode="append", order=[], columns=columns))
    for good, file in enumerate(files, 1_000_000):
        merging.land(merging.put(file, ending, part=1), merging.put(parquet([{"id": good}]), part=2))
        (balance,) = merging.merge()
        assert balance.merged >= 1
        balance.check("mutated")
        assert merging.query(f"SELECT count(*) FROM raw_shop.orders_live WHERE id = {good}") == [(1,)]
    reasons = merging.query("SELECT DISTINCT reason, detail FROM ops.quarantine")
    assert reasons, "some of the mutations break the file"
    for reason, detail in reasons:
        assert reason.partition(".")[0] in ("file", "row", "key")
        assert "\n" not in detail, detail
        assert len(detail) < 1000, detail
    for (text,) in merging.query("SELECT nested FROM raw_shop.orders_live WHERE nested IS NOT NULL"):
        json.loads(text)
    merging.warehouse.close()
