"""A file in; its columns' types, by its first rows, and its rows as Arrow tables, out."""

import csv as python_csv
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv, fs

from beam_job.steps.types import natural_type
from local.connectors.columns import Kind, typed
from local.connectors.files.folder import File
from local.connectors.protocol import ConnectorError

FIRST_ROWS, BATCH_ROWS = 1_000, 50_000
NUMBER = re.compile(r"^-?(0|[1-9]\d*)(\.\d+)?$")
FLOAT = re.compile(r"^-?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?$")
MOST_DIGITS, MOST_SCALE = 38, 18
Kinds = dict[str, str]  # contract type by column


def kinds_of(system: fs.FileSystem, file: File) -> Kinds:
    """Return the contract types of a file's columns: of CSV and JSON those that the first rows have."""
    if file.format == "parquet":
        with system.open_input_file(file.path) as source:
            schema = pq.ParquetFile(source).schema_arrow
        return {item.name: natural_type(item.type) or "string" for item in schema}
    rows = next(_texts(system, file, FIRST_ROWS), pa.table({}))
    return {name: _kind(rows.column(name).to_pylist(), nested=file.format == "jsonl") for name in rows.column_names}


def read(system: fs.FileSystem, file: File, kinds: Kinds) -> Iterator[pa.Table]:
    """Yield the rows; a column of another kind than `kinds` says keeps its texts, and the merge judges them."""
    if file.format == "parquet":
        with system.open_input_file(file.path) as source:
            for batch in pq.ParquetFile(source).iter_batches(BATCH_ROWS):
                yield pa.Table.from_batches([batch])
        return
    for rows in _texts(system, file, BATCH_ROWS):
        arrays = [typed(rows.column(n).combine_chunks(), Kind(kinds.get(n, "string"))) for n in rows.column_names]
        yield pa.Table.from_arrays(arrays, rows.column_names)


def _texts(system: fs.FileSystem, file: File, rows: int) -> Iterator[pa.Table]:
    """Yield tables of texts."""
    try:
        with system.open_input_stream(file.path) as source:
            yield from (_json_texts(source, rows) if file.format == "jsonl" else _csv_texts(source, file.format))
    except (pa.ArrowInvalid, ValueError) as error:
        raise ConnectorError(f"{file.name}: {error}", "system_error") from None


def _csv_texts(source: Any, kind: str) -> Iterator[pa.Table]:
    """Yield the rows of a CSV file; its names are read first, as Arrow would guess types of columns without one."""
    head = b""
    while b"\n" not in head and (block := source.read(1 << 16)):
        head += block
    first, _, rest = head.partition(b"\n")
    delimiter = "\t" if kind == "tsv" else ","
    names = next(python_csv.reader([first.decode("utf-8-sig").rstrip("\r")], delimiter=delimiter), [])
    if not rest and not (rest := source.read(1 << 16)):
        return
    reader = csv.open_csv(
        pa.PythonFile(_Joined(rest, source), "r"),
        read_options=csv.ReadOptions(column_names=names, block_size=8 << 20),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            column_types=dict.fromkeys(names, pa.string()),
        ),
    )
    for batch in reader:
        yield pa.Table.from_batches([batch])


class _Joined:
    """Bytes that were read, then the rest of their file."""

    closed = False

    def __init__(self, begin: bytes, rest: Any) -> None:
        self._begin, self._rest = begin, rest

    def read(self, size: int = -1) -> bytes:
        """Return at most so many bytes."""
        if not self._begin:
            return bytes(self._rest.read(size))
        part, self._begin = (self._begin, b"") if size < 0 else (self._begin[:size], self._begin[size:])
        return part

    def close(self) -> None:
        """Leave the file to its owner."""


def _json_texts(source: Any, rows: int) -> Iterator[pa.Table]:
    lines = (line for line in _lines(source) if line.strip())
    for part in iter(lambda: list(itertools.islice(lines, rows)), []):
        records = [json.loads(line, parse_float=Decimal) for line in part]
        if wrong := next((r for r in records if not isinstance(r, dict)), None):
            raise ValueError(f"a line is no JSON object: {str(wrong)[:80]}")
        names = list(dict.fromkeys(name for record in records for name in record))
        yield pa.table({n: pa.array([_text(record.get(n)) for record in records], pa.string()) for n in names})


def _lines(source: Any) -> Iterator[bytes]:
    rest = b""
    while block := source.read(1 << 20):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    yield rest


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return json.dumps(value, default=float)  # JSON in a table holds doubles
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(values: Sequence[str | None], *, nested: bool) -> str:
    """Return the first contract type that all texts have."""
    texts = [value for value in values if value is not None]
    if not texts:
        return "string"
    if all(NUMBER.match(text) for text in texts):
        return _numeric(texts)
    tests: list[tuple[str, Callable[[str], object]]] = [("float64", _float), ("bool", _bool)]
    tests += [("date", _day), ("timestamp", _instant)] + ([("json", _nested)] if nested else [])
    return next((kind for kind, read in tests if all(_reads(read, text) for text in texts)), "string")


def _numeric(texts: Sequence[str]) -> str:
    """Return int64, or an exact decimal; float64 where a decimal would have too many digits."""
    scale = max(len(text.partition(".")[2]) for text in texts)
    before = max(len(text.lstrip("-").partition(".")[0]) for text in texts)
    if scale == 0:
        return "int64" if before <= 18 else "decimal(38,0)" if before <= MOST_DIGITS else "string"
    return f"decimal({MOST_DIGITS},{scale})" if scale <= MOST_SCALE and before <= 20 else "float64"


def _reads(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


def _float(text: str) -> float:
    if not FLOAT.match(text):
        raise ValueError(text)  # neither are 007 and nan
    return float(text)


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _day(text: str) -> date:
    if len(text) != len("2024-01-31"):
        raise ValueError(text)
    return date.fromisoformat(text)


def _instant(text: str) -> datetime:
    if len(text) < len("2024-01-31 12:00"):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _nested(text: str) -> object:
    if text[:1] not in "{[":
        raise ValueError(text)
    return json.loads(text)
