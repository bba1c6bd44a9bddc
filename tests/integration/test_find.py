"""The search for files of the lake with rows of a key covers every form of a file."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa

from beam_job.find import files_with
from millrace.contracts.erasure import make_erasure
from tests.support.in_process import InProcess
from tests.support.merging import NOON, PARQUET, avro, contract, delete, parquet, upsert


def files_of_key(merging: InProcess, **key: object) -> list[str]:
    erasure = make_erasure(merging.contract, [key], "r", NOON)
    return [
        name.rsplit("/", 2)[-2] + "/" + name.rsplit("/", 1)[-1]
        for name in files_with(merging.lake, merging.contract, set(erasure.keys))
    ]


def test_key_is_found_in_every_kind_of_file() -> None:
    merging = InProcess(contract())
    half = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))
    merging.land(rows=[upsert(1, 10), upsert(2, 10)])
    merging.land(merging.put(avro([delete(1, 11)]), "avro"), merging.put(parquet([upsert(3, 11)]), part=1))
    merging.land(merging.put(parquet([upsert(1, 12) | {"amount": 0.5}], half)), merging.put(b"none", part=1))
    merging.merge()
    names = files_of_key(merging, id=1)
    assert names[:4] == ["sync_id=1/0.parquet", "sync_id=2/0.avro", "sync_id=3/0.parquet", "sync_id=3/1.parquet"]
    assert [name.rsplit("/", 1)[1][:5] for name in names[4:]] == ["rows-"]
    assert files_of_key(merging, id=9) == ["sync_id=3/1.parquet"]


def test_equal_key_values_match_in_any_notation() -> None:
    columns = {"at": {"type": "timestamp", "nullable": False}, "price": {"type": "decimal(9,2)", "nullable": False}}
    merging = InProcess(contract(key=["at", "price"], columns=columns))
    schema = PARQUET.append(pa.field("at", pa.timestamp("us", "UTC"))).append(pa.field("price", pa.decimal128(9, 2)))
    at = datetime(2026, 1, 2, 3, tzinfo=UTC)
    merging.land(merging.put(parquet([upsert(1, 1) | {"at": at, "price": Decimal("1.50")}], schema)))
    east = at.astimezone(timezone(timedelta(hours=1))).isoformat()
    assert files_of_key(merging, at=east, price="1.5") == ["sync_id=1/0.parquet"]
    assert files_of_key(merging, at=at.isoformat(), price=1.51) == []
