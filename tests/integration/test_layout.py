"""The compression that DuckDB uses after a stream's first merge: chosen by the values, with unchanged rows."""

from pathlib import Path

import pytest

from millrace.lake.store import Lake
from millrace.warehouse.duckdb.layout import LEAST_ROWS
from tests.support.merging import Merging, upsert


@pytest.fixture
def merging(lake: Lake, tmp_path: Path) -> Merging:
    return Merging(lake, tmp_path)


def storage(merging: Merging) -> dict[str, str]:
    rows = merging.query(
        "SELECT DISTINCT column_name, compression FROM pragma_storage_info('raw_shop.orders')"
        " WHERE segment_type IN ('VARCHAR', 'BLOB')"
    )
    return dict(rows)


def test_unique_text_is_stored_with_zstd(merging: Merging) -> None:
    rows = [upsert(number, 10, name=f"order number {number} of a shop") for number in range(2 * LEAST_ROWS)]
    merging.land(rows=rows)
    merging.merge()
    compression = storage(merging)
    assert compression["name"] == compression["_version"] == "ZSTD"
    assert compression["_object"] != "ZSTD"
    assert merging.live() == {row["id"]: row["name"] for row in rows}


def test_repetitive_text_is_dictionary_encoded(merging: Merging) -> None:
    merging.land(rows=[upsert(number, 10, name=f"kind {number % 7}") for number in range(2 * LEAST_ROWS)])
    merging.merge()
    compression = storage(merging)
    assert (compression["name"], compression["_version"]) == ("DICT_FSST", "ZSTD")


def test_few_rows_do_not_decide_the_compression(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 10)])
    merging.merge()
    merging.land(rows=[upsert(number, 11, name=f"order number {number}") for number in range(2 * LEAST_ROWS)])
    merging.merge()
    assert storage(merging)["name"] != "ZSTD"
    assert len(merging.live()) == 2 * LEAST_ROWS
