"""Files and rows that break their contract are quarantined by name, and the rest of the batch is merged."""

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.domain.batch import Balance
from millrace.lake.store import Lake
from tests.support.merging import PARQUET, Merging, avro, contract, parquet, upsert


@pytest.fixture
def merging(lake: Lake, tmp_path: Path) -> Merging:
    return Merging(lake, tmp_path)


def test_unreadable_files_are_quarantined(merging: Merging) -> None:
    good, whole = merging.put(parquet([upsert(1, 10)]), part=0), parquet([upsert(2, 10)] * 500)
    garbage = merging.put(b"no parquet at all", part=1)
    truncated = merging.put(whole[: len(whole) // 2], part=2)
    merging.land(good, garbage, truncated)
    assert merging.merge() == [Balance(rows_in=3, merged=1, superseded=0, stale=0, quarantined=2)]
    assert merging.live() == {1: "v10"}
    reasons = merging.query('SELECT reason, object, "row" FROM ops.quarantine ORDER BY object')
    assert reasons == [("file.unreadable", garbage.name, None), ("file.unreadable", truncated.name, None)]
    assert merging.merge() == []


def test_file_with_broken_page_wins_no_key(merging: Merging) -> None:
    old = merging.put(parquet([upsert(1, 10)]), part=0)
    data = bytearray(parquet([upsert(1, 20, name="broken")], compression="none"))
    at = data.index(b"broken")
    page = pq.ParquetFile(pa.BufferReader(bytes(data))).metadata.row_group(0).column(4)
    start = page.dictionary_page_offset or page.data_page_offset
    data[start : start + 12] = b"\xff" * 12  # the page header of `name`; keys stay readable
    assert at > start
    new = merging.put(bytes(data), part=1)
    merging.land(old, new)
    assert merging.merge() == [Balance(rows_in=2, merged=1, superseded=0, stale=0, quarantined=1)]
    assert merging.live() == {1: "v10"}


@pytest.mark.parametrize("column", ["name", "id"])
@pytest.mark.parametrize("ending", ["parquet", "avro"])
def test_file_with_invalid_utf8_is_quarantined(lake: Lake, tmp_path: Path, column: str, ending: str) -> None:
    columns = {n: {"type": "string", "nullable": n != "id"} for n in ("id", "name")}
    merging = Merging(lake, tmp_path, contract(columns=columns))
    schema = PARQUET.set(PARQUET.get_field_index("id"), pa.field("id", pa.string()))
    write = partial(parquet, compression="none") if ending == "parquet" else partial(avro, codec="null")
    rows = [{"id": f"{n}", "name": "fine", "_ab_cdc_lsn": n} for n in range(3)]
    good = merging.put(write(rows, schema=schema), ending, part=0)
    spoiled = write([*rows, {"id": "9", "name": "fine", "_ab_cdc_lsn": 9} | {column: "broken"}], schema=schema)
    bad = merging.put(spoiled.replace(b"broken", b"br\xff\xfeen"), ending, part=1)
    merging.land(good, bad)
    assert merging.merge() == [Balance(rows_in=7, merged=3, superseded=0, stale=0, quarantined=4)]
    ((reason, detail),) = merging.query("SELECT reason, detail FROM ops.quarantine")
    assert reason == "file.unreadable"
    assert bad.name in detail
    assert "utf" in detail.lower()
    assert len(merging.live()) == 3


def test_file_of_wrong_types_is_quarantined(merging: Merging) -> None:
    schema = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.string()))
    wrong = merging.put(parquet([{"id": 2, "amount": "many", "_ab_cdc_lsn": 1}] * 3, schema), part=1)
    merging.land(merging.put(parquet([upsert(1, 10)])), wrong)
    assert merging.merge() == [Balance(rows_in=4, merged=1, superseded=0, stale=0, quarantined=3)]
    ((reason, detail),) = merging.query("SELECT reason, detail FROM ops.quarantine")
    assert reason == "file.type"
    assert "amount is string, the contract says int64" in detail


def test_invalid_rows_are_quarantined(merging: Merging) -> None:
    schema = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))
    rows = [upsert(1, 10), upsert(None, 11), upsert(1, 12) | {"amount": 0.5}, upsert(2, 13) | {"amount": 3.0}]
    merging.land(merging.put(parquet(rows, schema)))
    assert merging.merge() == [Balance(rows_in=4, merged=2, superseded=0, stale=0, quarantined=2)]
    assert merging.live() == {1: "v10", 2: "v13"}, "a quarantined row must not win over a good one"
    assert merging.query('SELECT reason, "row" FROM ops.quarantine ORDER BY 2') == [("key.null", 1), ("row.type", 2)]
    (name,) = [o.name for o in merging.lake.list("_quarantine/shop/orders/")]
    table = pq.read_table(pa.BufferReader(merging.lake.read(name)))
    assert table.column("_quarantine_reason").to_pylist() == ["key.null", "row.type"]
    assert table.column("amount").to_pylist() == [None, 0.5]
