"""How DuckDB stores what the first merge of a stream brings: by the values, and never to the harm of the rows."""

from pathlib import Path

import pytest

from millrace.lake.store import Lake
from millrace.warehouse.duckdb.layout import LEAST_ROWS
from tests.support.merging import Merging, upsert


@pytest.fixture
def merging(lake: Lake, tmp_path: Path) -> Merging:
    return Merging(lake, tmp_path)


def storage(merging: Merging) -> dict[str, str]:
    found = merging.query(
        "SELECT DISTINCT column_name, compression FROM pragma_storage_info('raw_shop.orders')"
        " WHERE segment_type IN ('VARCHAR', 'BLOB')"
    )
    return dict(found)


def test_text_that_seldom_repeats_is_packed_and_other_text_keeps_its_dictionary(merging: Merging) -> None:
    rows = [upsert(number, 10, name=f"order number {number} of a shop") for number in range(2 * LEAST_ROWS)]
    merging.land(rows=rows)
    merging.merge()
    kept = storage(merging)
    assert kept["name"] == kept["_version"] == "ZSTD"
    assert kept["_object"] != "ZSTD"
    assert merging.live() == {row["id"]: row["name"] for row in rows}


def test_text_that_repeats_keeps_its_dictionary(merging: Merging) -> None:
    merging.land(rows=[upsert(number, 10, name=f"kind {number % 7}") for number in range(2 * LEAST_ROWS)])
    merging.merge()
    kept = storage(merging)
    assert (kept["name"], kept["_version"]) == ("DICT_FSST", "ZSTD")


def test_a_few_rows_decide_nothing_and_a_table_with_rows_is_not_made_anew(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 10)])
    merging.merge()
    merging.land(rows=[upsert(number, 11, name=f"order number {number}") for number in range(2 * LEAST_ROWS)])
    merging.merge()
    assert storage(merging)["name"] != "ZSTD"
    assert len(merging.live()) == 2 * LEAST_ROWS
