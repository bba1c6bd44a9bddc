"""Files of the lake that hold rows of a key are found, in whatever form they came."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa

from beam_job.find import files_with
from millrace.contracts.erasure import asked
from tests.support.in_process import InProcess
from tests.support.merging import NOON, PARQUET, avro, contract, delete, parquet, upsert


def found(merging: InProcess, **key: object) -> list[str]:
    wanted = asked(merging.contract, [key], "r", NOON)
    return [
        name.rsplit("/", 2)[-2] + "/" + name.rsplit("/", 1)[-1]
        for name in files_with(merging.lake, merging.contract, set(wanted.keys))
    ]


def test_bodies_deletes_and_refused_rows_are_found_in_both_formats_and_files_that_nobody_can_read() -> None:
    merging = InProcess(contract())
    half = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))
    merging.land(rows=[upsert(1, 10), upsert(2, 10)])
    merging.land(merging.put(avro([delete(1, 11)]), "avro"), merging.put(parquet([upsert(3, 11)]), part=1))
    merging.land(merging.put(parquet([upsert(1, 12) | {"amount": 0.5}], half)), merging.put(b"none", part=1))
    merging.merge()
    names = found(merging, id=1)
    assert names[:4] == ["sync_id=1/0.parquet", "sync_id=2/0.avro", "sync_id=3/0.parquet", "sync_id=3/1.parquet"]
    assert [name.rsplit("/", 1)[1][:5] for name in names[4:]] == ["rows-"]
    assert found(merging, id=9) == ["sync_id=3/1.parquet"]


def test_instants_and_decimals_are_the_same_key_however_they_are_written() -> None:
    columns = {"at": {"type": "timestamp", "nullable": False}, "price": {"type": "decimal(9,2)", "nullable": False}}
    merging = InProcess(contract(key=["at", "price"], columns=columns))
    schema = PARQUET.append(pa.field("at", pa.timestamp("us", "UTC"))).append(pa.field("price", pa.decimal128(9, 2)))
    at = datetime(2026, 1, 2, 3, tzinfo=UTC)
    merging.land(merging.put(parquet([upsert(1, 1) | {"at": at, "price": Decimal("1.50")}], schema)))
    east = at.astimezone(timezone(timedelta(hours=1))).isoformat()
    assert found(merging, at=east, price="1.5") == ["sync_id=1/0.parquet"]
    assert found(merging, at=at.isoformat(), price=1.51) == []
