"""A large Parquet file is read in parts by several workers, and nothing but their number shows it."""

import io
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_job import stage as staging
from beam_job.attempts import stage
from beam_job.batches import Limits, close_batch, open_batch
from beam_job.commit import commit_batch
from beam_job.engines.options import REQUIRED, Dataflow
from beam_job.engines.plain import run_steps
from beam_job.split import split
from beam_job.steps.files import DataFile
from beam_job.steps.units import units
from beam_job.steps.work import Work
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch
from tests.support.in_process import InProcess
from tests.support.merging import NOON, PARQUET, avro, contract, delete, upsert
from tests.support.parts import landed

HALF = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))
GROUP = 10
ROWS = [upsert(n % 37, n) if n % 11 else delete(n % 37, n) for n in range(95)]
Merged = tuple[list[Balance], list[Any], list[Any], int]


def file_of(rows: list[dict[str, Any]], schema: pa.Schema = PARQUET) -> bytes:
    """A file with a row group for each ten rows."""
    own = {"_airbyte_raw_id": "x", "_airbyte_extracted_at": 1_700_000_000_000, "_airbyte_generation_id": 0}
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([own | row for row in rows], schema), buffer, row_group_size=GROUP)
    return buffer.getvalue()


def merged(data: bytes, part_bytes: int, stream: StreamContract | None = None) -> Merged:
    """Merge a file in parts: balances, the table, the quarantine, and the number of parts."""
    merging, parts = InProcess(stream or contract()), 0
    merging.land(merging.put(data), merging.put(avro([upsert(99, 1)]), "avro", part=1))
    balances = []
    while batch := open_batch(merging.lake, merging.warehouse, merging.contract, limits=Limits(), now=NOON):
        divided = split(merging.lake, batch, part_bytes)
        parts = len(divided.objects)

        def run(grown: StreamContract, rejected: dict[int, str], attempt: str, divided: Batch = divided) -> None:
            run_steps(Work(merging.lake, grown, divided, attempt), 3, rejected)

        staged = stage(merging.lake, merging.contract, divided, run)
        balances.append(
            commit_batch(merging.lake, merging.warehouse, merging.contract, batch, staged, run_id="r", at=NOON)
        )
        close_batch(merging.lake, batch)
    table = merging.query("FROM raw_shop.orders ORDER BY ALL")
    reasons = merging.query('SELECT reason, "row", sum("rows") FROM ops.quarantine GROUP BY ALL ORDER BY ALL')
    assert merging.query("SELECT count(*), count(DISTINCT object) FROM ops.ledger_objects") == [(2, 2)]
    return balances, table, reasons, parts


@pytest.mark.parametrize(
    "stream",
    [contract(), contract(key=[], mode="append", order=[]), contract(mode="overwrite", order=[])],
    ids=["changes", "no key", "snapshots"],
)
def test_parts_give_the_table_of_the_whole_file(stream: StreamContract) -> None:
    data = file_of(ROWS)
    whole, parts = merged(data, len(data), stream), merged(data, len(data) // 5, stream)
    assert whole[:3] == parts[:3]
    assert (whole[3], parts[3] > 4) == (2, True)


def test_invalid_rows_of_parts_keep_their_positions() -> None:
    rows = [row | {"amount": 0.5 if n in (3, 57, 94) else 1.0} for n, row in enumerate(ROWS)]
    data = file_of(rows, HALF)
    whole, parts = merged(data, len(data)), merged(data, len(data) // 5)
    assert whole[:3] == parts[:3]
    assert [row for _, row, _ in parts[2]] == [3, 57, 94]


def test_invalid_rows_of_all_parts_are_counted_together() -> None:
    """Of 95 rows 8 are invalid, none in a part with all of them: as many as a file may have, or one more."""
    data = file_of([row | {"amount": 0.5 if n % 12 == 5 else 1.0} for n, row in enumerate(ROWS)], HALF)
    for most, quarantined in ((8, 8), (7, len(ROWS))):
        with mock.patch("beam_job.steps.read.MAX_QUARANTINED_ROWS", most):
            whole, parts = merged(data, len(data)), merged(data, len(data) // 9)
        assert [b.quarantined for b in parts[0]] == [quarantined]
        assert whole[:3] == parts[:3]
        assert parts[3] > 4


def test_damage_in_one_part_rejects_the_whole_file() -> None:
    data = file_of(ROWS)
    column = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(4).column(PARQUET.get_field_index("name"))
    begin = (column.dictionary_page_offset or column.data_page_offset) + 2
    data = data[:begin] + bytes(20) + data[begin + 20 :]
    whole, parts = merged(data, len(data)), merged(data, len(data) // 5)
    assert [b.quarantined for b in whole[0]] == [b.quarantined for b in parts[0]] == [len(ROWS)]
    assert [(reason, row, rows) for reason, row, rows in parts[2]] == [("file.unreadable", None, len(ROWS))]
    assert whole[1] == parts[1]


def test_parts_have_all_row_groups_once_in_order() -> None:
    data = file_of(ROWS)
    lake, batch = landed(data, len(ROWS))
    parts = split(lake, batch, len(data) // 4).objects
    groups = [number for part in parts if part.groups for number in range(*part.groups)]
    assert (len(parts) > 2, groups) == (True, list(range(10)))
    assert sum(part.rows or 0 for part in parts) == len(ROWS)
    assert 0 <= len(data) - sum(part.size for part in parts) <= 10
    read = [(first, table.num_rows) for part in parts for first, table in DataFile(lake, part).chunks(["id"])]
    assert [first for first, _ in read] == [sum(rows for _, rows in read[:n]) for n in range(len(read))]
    assert sum(rows for _, rows in read) == len(ROWS)
    assert split(lake, batch, len(data) // 4).objects == parts, "every run splits it alike"
    assert len(units(batch.model_copy(update={"objects": parts}))) == 1, "small parts share a unit"


@pytest.mark.parametrize(
    ("data", "rows", "name"),
    [
        (file_of(ROWS), len(ROWS) + 1, "raw/a.parquet"),
        (b"no parquet" * 100, 5, "raw/a.parquet"),
        (avro(ROWS), len(ROWS), "raw/a.avro"),
    ],
    ids=["another count", "no footer", "Avro of one block"],
)
def test_other_files_stay_whole(data: bytes, rows: int, name: str) -> None:
    lake, batch = landed(data, rows, name)
    assert split(lake, batch, 10) == batch


def test_deleted_file_stays_whole() -> None:
    lake, batch = landed(file_of(ROWS), len(ROWS))
    lake.delete("raw/a.parquet")
    assert split(lake, batch, 10) == batch


def test_a_batch_on_dataflow_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    merging, data, parts_read = InProcess(contract()), file_of(ROWS), []
    merging.land(merging.put(data))
    limits = Limits(plain_max_rows=1, in_process_max_rows=1)
    batch = open_batch(merging.lake, merging.warehouse, merging.contract, limits=limits, now=NOON)
    assert batch is not None

    class Remote:
        """A runner elsewhere, which runs the steps here."""

        def __init__(self, _lake: object, parts: Batch, _options: object) -> None:
            self.parts = parts
            parts_read.append(len(parts.objects))

        def resumes(self, _contract: StreamContract, _rejected: dict[int, str]) -> str:
            return ""

        def __call__(self, grown: StreamContract, rejected: dict[int, str], attempt: str) -> None:
            run_steps(Work(merging.lake, grown, self.parts, attempt), 2, rejected)

    monkeypatch.setattr(staging, "on_dataflow", Remote)
    monkeypatch.setattr(staging, "split", lambda lake, whole: split(lake, whole, len(data) // 5))
    settings = dict.fromkeys(REQUIRED, "x")
    staged = staging.stage_batch(merging.lake, merging.contract, batch, Dataflow("project", settings))
    balance = commit_batch(merging.lake, merging.warehouse, merging.contract, batch, staged, run_id="r", at=NOON)
    assert (parts_read[0] > 4, balance.rows_in) == (True, len(ROWS))
    assert merging.query("SELECT count(*) FROM ops.ledger_objects") == [(1,)]
