"""Parquet files that strangers write: every encoding becomes a plain type, and what is wrong is refused by name."""

import decimal
import io
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import InternalServerError
from requests.exceptions import ConnectionError as NotConnected

from beam_job.steps import files, storage_types
from beam_job.steps.files import DataFile
from millrace.domain.batch import Balance, BatchObject
from millrace.domain.errors import FileRejected, ObjectMissing, ServiceUnavailable
from millrace.lake import footers
from millrace.lake.footers import count_rows
from millrace.lake.store import Lake
from tests.support.in_process import InProcess, MemoryLake
from tests.support.merging import PARQUET, contract, parquet, upsert

NAME = "raw/a/b/sync_id=1/0.parquet"
IDS = [uuid.UUID("0E8400E2-9B41-41D4-A716-446655440000"), None, uuid.UUID(int=1)]
UUIDS = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([i and i.bytes for i in IDS], pa.binary(16)))
UUID_TEXTS = ["0e8400e2-9b41-41d4-a716-446655440000", None, "00000000-0000-0000-0000-000000000001"]
WORDS = ["a", None, "b"]


class Mark(pa.ExtensionType):  # type: ignore[misc]
    """A type that no other program knows."""

    def __init__(self) -> None:
        super().__init__(pa.int32(), "tests.mark")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> "Mark":
        return cls()


def written(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def stored(data: bytes, memory: MemoryLake | None = None) -> tuple[Lake, BatchObject]:
    lake = cast(Lake, memory or MemoryLake())
    generation = lake.write(NAME, data)
    return lake, BatchObject(
        name=NAME, generation=generation, size=len(data), rows=None, job_id=1, epoch=0, generation_id=0
    )


def read(data: bytes, columns: list[str] | None = None) -> pa.Table:
    file = DataFile(*stored(data))
    tables = [table for _, table in file.chunks(columns)]
    assert columns or all(table.schema == file.schema for table in tables)
    return pa.concat_tables(tables)


STRUCTS = pa.StructArray.from_arrays([UUIDS, pa.array(WORDS, pa.large_string())], ["u", "w"])
ENCODED: list[tuple[Any, pa.DataType, list[Any]]] = [
    (pa.array(WORDS).dictionary_encode(), pa.string(), WORDS),
    (pa.array(WORDS, pa.large_string()), pa.string(), WORDS),
    (pa.array(WORDS, pa.string_view()), pa.string(), WORDS),
    (pa.array(WORDS, pa.large_string()).dictionary_encode(), pa.string(), WORDS),
    (pa.array([b"a", None, b"\xff"], pa.large_binary()), pa.binary(), [b"a", None, b"\xff"]),
    (pa.array([b"a", None, b"\xff"], pa.binary_view()), pa.binary(), [b"a", None, b"\xff"]),
    (UUIDS, pa.string(), UUID_TEXTS),
    (
        pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None, 0], pa.int8())),
        pa.bool_(),
        [True, None, False],
    ),
    (pa.ExtensionArray.from_storage(Mark(), pa.array([1, None, 3], pa.int32())), pa.int32(), [1, None, 3]),
    (
        pa.array([["a"], None, [None, "b"]], pa.large_list(pa.large_string())),
        pa.list_(pa.string()),
        [["a"], None, [None, "b"]],
    ),
    (
        pa.array([["a", "b"], ["d", ""], ["c", None]], pa.list_(pa.string(), 2)),
        pa.list_(pa.string()),
        [["a", "b"], ["d", ""], ["c", None]],
    ),
    (
        STRUCTS,
        pa.struct([("u", pa.string()), ("w", pa.string())]),
        [{"u": u, "w": w} for u, w in zip(UUID_TEXTS, WORDS, strict=True)],
    ),
    (
        pa.array([[("k", "v")], None, []], pa.map_(pa.string(), pa.large_string())),
        pa.map_(pa.string(), pa.string()),
        [[("k", "v")], None, []],
    ),
    (pa.ListArray.from_arrays([0, 1, 1, 3], UUIDS), pa.list_(pa.string()), [UUID_TEXTS[:1], [], UUID_TEXTS[1:]]),
]


@pytest.mark.parametrize("at", range(len(ENCODED)))
def test_encoding_becomes_a_plain_type(at: int) -> None:
    array, kind, values = ENCODED[at]
    table = read(written(pa.table({"id": [1, 2, 3], "v": array})))
    assert table.schema.field("v").type.equals(kind) or pa.types.is_nested(kind)
    assert storage_types.plain_type(table.schema.field("v").type) == table.schema.field("v").type
    assert table.column("v").to_pylist() == values
    assert table.column("id").to_pylist() == [1, 2, 3]


@pytest.mark.parametrize("at", range(len(ENCODED)))
def test_slice_of_an_encoding_is_plain(at: int) -> None:
    array, _, values = ENCODED[at]
    plain = storage_types.plain_array(array.slice(1, 2))
    plain.validate(full=True)
    assert plain.to_pylist() == values[1:]


def test_runs_become_their_values() -> None:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["a", None], pa.large_string()))
    assert storage_types.plain_type(runs.type) == pa.string()
    assert storage_types.plain_array(runs).to_pylist() == ["a", "a", None]


def test_json_column_is_text_with_a_mark() -> None:
    texts = pa.array(['{"a": 1}', None])
    table = pa.table({"j": pa.ExtensionArray.from_storage(pa.json_(), texts), "s": texts})
    file = DataFile(*stored(written(table)))
    assert file.json_columns == {"j"}
    assert file.schema.types == [pa.json_(), pa.string()]
    ((_, read_table),) = file.chunks()
    assert read_table.schema == file.schema
    assert read_table.column("j").to_pylist() == ['{"a": 1}', None]


def test_plain_file_is_passed_on_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    data = parquet([upsert(1, 1)])
    monkeypatch.setattr(storage_types, "plain_array", lambda _array: pytest.fail("nothing is encoded"))
    assert read(data).schema == PARQUET


def test_flipped_bit_fails_its_checksum() -> None:
    table = pa.table({"amount": pa.array([100, 200, 300])})
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    data = bytearray(written(table, **options))
    data[data.index((200).to_bytes(8, "little"))] ^= 1
    with pytest.raises(FileRejected, match=rf"file.unreadable: {NAME}: .*[Cc][Rr][Cc]"):
        read(bytes(data))


def test_twins_are_refused_by_their_name() -> None:
    table = pa.table([pa.array([1]), pa.array(["a"]), pa.array(["b"])], ["id", "name", "name"])
    with pytest.raises(FileRejected, match=r"file.unreadable: \S+: it has two columns of the name 'name'"):
        DataFile(*stored(written(table)))


def footer_of(rows: int, *groups: int) -> Any:
    """Return a footer with these rows, and these of each group."""
    parts = [SimpleNamespace(num_rows=count) for count in groups]
    return SimpleNamespace(num_rows=rows, num_row_groups=len(parts), row_group=parts.__getitem__)


@pytest.mark.parametrize("footer", [footer_of(-5), footer_of(-5, -5), footer_of(10**15, 3), footer_of(3, 5, -2)])
def test_impossible_row_counts_are_refused(footer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="rows"):
        footers.parquet_rows(footer)
    lake, obj = stored(parquet([upsert(1, 1)]))
    monkeypatch.setattr(pq.ParquetFile, "metadata", footer)
    assert count_rows(lake, NAME) is None
    with pytest.raises(FileRejected, match=r"file.unreadable: \S+: its (footer|row group)"):
        DataFile(lake, obj)


def test_texts_of_gigabytes_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_types, "MOST_COLUMN_BYTES", 10_000)
    texts = [f"{n}" + "x" * 990 for n in range(100)]
    for array in (pa.array(texts), pa.array(texts, pa.large_string()), pa.array(texts[:5] * 20).dictionary_encode()):
        chunks = list(DataFile(*stored(written(pa.table({"v": array})))).chunks())
        assert len(chunks) >= 10
        position = 0
        for first, table in chunks:
            assert first == position
            assert table.column("v").to_pylist() == array[first : first + table.num_rows].to_pylist()
            position += table.num_rows
        assert position == 100


class FailingLake(MemoryLake):
    """A lake whose files fail after some reads."""

    error: Exception = ServiceUnavailable("gone")
    reads = 2

    def open(self, name: str, generation: int | None = None) -> BinaryIO:
        lake, file = self, io.BytesIO(self.read(name, generation))

        class Failing(io.BytesIO):
            left = lake.reads

            def read(self, size: int | None = -1) -> bytes:
                self.left -= 1
                if self.left < 0:
                    raise lake.error
                return super().read(size)

        return cast(BinaryIO, Failing(file.getvalue()))


TRANSIENT = [
    ServiceUnavailable("503"),
    NotConnected("reset"),
    InternalServerError("500"),
    TimeoutError("slow"),
    ConnectionResetError("reset"),
    ValueError("even this: it came from the lake"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("reads", [0, 2, 4])
def test_errors_of_the_lake_reject_no_file(error: Exception, reads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WHOLE_BYTES", 0)
    failing = FailingLake()
    failing.error, failing.reads = error, reads
    lake, obj = stored(written(pa.table({"v": list(range(1_000_000))}), row_group_size=100_000), failing)
    with pytest.raises(type(error), match=str(error)):
        list(DataFile(lake, obj).chunks())
    if not reads:
        with pytest.raises(type(error), match=str(error)):
            count_rows(lake, NAME)


def test_missing_object_stays_missing_when_counted() -> None:
    with pytest.raises(ObjectMissing):
        count_rows(cast(Lake, MemoryLake()), NAME)


ERRORS: list[Callable[[], Exception]] = [
    lambda: KeyError("x"),
    lambda: OverflowError("too large"),
    lambda: RecursionError("maximum recursion depth exceeded"),
    lambda: AssertionError(),
    lambda: pa.ArrowNotImplementedError("no\nsecond line"),
    lambda: decimal.InvalidOperation("bad"),
]


@pytest.mark.parametrize("make", ERRORS)
def test_any_error_of_a_reader_names_the_file(make: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    lake, obj = stored(parquet([upsert(1, 1)]))

    def fail(*_args: Any, **_options: Any) -> None:
        raise make()

    monkeypatch.setattr(pq.ParquetFile, "read", fail)
    with pytest.raises(FileRejected) as caught:
        list(DataFile(lake, obj).chunks())
    assert str(caught.value).startswith(f"file.unreadable: {NAME}: ")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(pq, "ParquetFile", fail)
    assert count_rows(lake, NAME) is None


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit])
def test_end_of_the_process_rejects_no_file(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    lake, obj = stored(parquet([upsert(1, 1)]))

    def fail(*_args: Any, **_options: Any) -> None:
        raise error

    monkeypatch.setattr(pq.ParquetFile, "read", fail)
    with pytest.raises(error):
        list(DataFile(lake, obj).chunks())


def test_refused_file_leaves_the_others_merged() -> None:
    merging = InProcess(contract())
    good = merging.put(parquet([upsert(1, 10)]), part=0)
    table = pq.read_table(pa.BufferReader(parquet([upsert(2, 10)])))
    bad = merging.put(written(table.append_column("name", pa.array(["twin"]))), part=1)
    merging.land(good, bad)
    assert merging.merge() == [Balance(rows_in=2, merged=1, superseded=0, stale=0, quarantined=1)]
    ((reason, detail),) = merging.query("SELECT reason, detail FROM ops.quarantine")
    assert reason == "file.unreadable"
    assert "two columns of the name 'name'" in detail
    assert merging.live() == {1: "v10"}
