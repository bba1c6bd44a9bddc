"""Files of every release and setting of Airbyte's destination, mixed in one batch."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.domain.batch import Balance
from tests.support.in_process import InProcess
from tests.support.merging import PARQUET, avro, contract, parquet, upsert

OLD = {"_airbyte_raw_id": "_airbyte_ab_id", "_airbyte_extracted_at": "_airbyte_emitted_at"}


def old_parquet(rows: list[dict[str, Any]], compression: str) -> bytes:
    """Write the layout before 1.0: other names, timestamps in milliseconds, no generation, a map of unknown columns."""
    table = pq.read_table(pa.BufferReader(parquet(rows))).drop(["_airbyte_generation_id"])
    table = table.rename_columns([OLD.get(name, name) for name in table.column_names])
    emitted = table.column("_airbyte_emitted_at").cast(pa.timestamp("ms", "UTC"))
    table = table.set_column(1, "_airbyte_emitted_at", emitted)
    maps = pa.array([[]] * table.num_rows, pa.map_(pa.string(), pa.string()))
    buffer = io.BytesIO()
    pq.write_table(table.append_column("_airbyte_additional_properties", maps), buffer, compression=compression)
    return buffer.getvalue()


def old_avro(rows: list[dict[str, Any]], codec: str) -> bytes:
    fields = [f.with_name(OLD.get(f.name, f.name)) for f in PARQUET if f.name != "_airbyte_generation_id"]
    own = {"_airbyte_ab_id": "x", "_airbyte_emitted_at": 1_700_000_000_000}
    return avro([own | row for row in rows], codec, pa.schema(fields))


def new_parquet(rows: list[dict[str, Any]], compression: str) -> bytes:
    return parquet(rows, compression=compression)


KINDS = [
    *[(old_parquet, c, "parquet") for c in ("snappy", "zstd", "gzip")],
    *[(new_parquet, c, "parquet") for c in ("none", "snappy", "zstd", "gzip")],
    *[(make, c, "avro") for make in (old_avro, avro) for c in ("null", "deflate", "snappy")],
]


def test_mixed_layouts_and_codecs_merge_together() -> None:
    merging = InProcess(contract())
    files = [make([upsert(1, lsn), upsert(100 + lsn, 1)], codec) for lsn, (make, codec, _) in enumerate(KINDS, 1)]
    objects = [merging.put(data, KINDS[i][2], part=i) for i, data in enumerate(files)]
    merging.land(*objects[::-1])
    count = len(KINDS)
    assert merging.merge() == [
        Balance(rows_in=2 * count, merged=count + 1, superseded=count - 1, stale=0, quarantined=0)
    ]
    assert merging.live()[1] == f"v{count}"
    assert merging.query("SELECT DISTINCT _extracted_at::DATE::VARCHAR FROM raw_shop.orders") == [("2023-11-14",)]


@pytest.mark.parametrize(("make", "codec", "ending"), KINDS)
def test_each_layout_can_win(make: Any, codec: str, ending: str) -> None:
    merging = InProcess(contract())
    merging.land(merging.put(parquet([upsert(1, 1)]), part=0), merging.put(make([upsert(1, 2)], codec), ending, part=1))
    assert merging.merge()[0].superseded == 1
    assert merging.live() == {1: "v2"}
