"""The public test files of Parquet, Arrow and Avro: each is read as its format's library does it, or refused by name.

`make test-files` fetches them and writes docs/test-files.md.
"""

import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_job.steps.files import DataFile
from beam_job.steps.rows import conform_column
from beam_job.steps.types import natural_type
from millrace.domain.batch import BatchObject
from millrace.domain.errors import FileRejected
from tests.support.in_process import InProcess, MemoryLake
from tests.support.merging import contract, parquet

FOLDER = Path(os.environ.get("MILLRACE_TEST_FILES", "/nowhere"))
PAGE = os.environ.get("MILLRACE_TEST_FILES_PAGE", "")
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="needs the public test files: `make test-files`")
PARQUET = ("parquet-testing", "arrow-testing/data/parquet")
AVRO = ("arrow-testing/data/avro", "avro")
READ, BEYOND, REFUSED = "right", "read, where the format's library can't", "refused, with the reason"
HEAD = """# Public test files

`make test-files` fetches the test files of three projects, broken ones included, reads each of them, and merges it
beside a good file, which must arrive. A file counts as right if its rows and plain values are those that the format's
library returns (pyarrow, fastavro), and its other columns are of a known type or valid JSON. Anything else fails the
test.
"""
PLAIN = (int, str, bool, type(None))
OUTCOMES: Counter[tuple[str, str]] = Counter()


def public_files() -> list[tuple[str, str]]:
    """Return each file's path below the folder, and its format by what it is called or where it is."""
    found = []
    for root in (*PARQUET, *AVRO):
        for path in sorted((FOLDER / root).rglob("*")):
            name = path.relative_to(FOLDER).as_posix()
            if path.is_file() and ".git" not in path.parts and (kind := _kind(path, root)):
                found.append((name, kind))
    return sorted(set(found))


def _kind(path: Path, root: str) -> str:
    if path.suffix in (".parquet", ".avro"):
        return path.suffix[1:]
    return "parquet" if root == PARQUET[1] and path.suffix not in (".md", ".py", ".sh") else ""


@pytest.mark.parametrize(("name", "ending"), public_files())
def test_file_is_right_or_refused_by_name(name: str, ending: str) -> None:
    data = (FOLDER / name).read_bytes()
    lake = MemoryLake()
    generation = lake.write(f"raw/x.{ending}", data)
    obj = BatchObject(
        name=f"raw/x.{ending}",
        generation=generation,
        size=len(data),
        rows=None,
        job_id=1,
        epoch=0,
        generation_id=0,
    )
    suite = name.split("/")[0]
    try:
        file = DataFile(lake, obj)
        tables = [table for _, table in file.chunks()]
    except FileRejected as error:
        _check_reason(str(error))
        OUTCOMES[suite, REFUSED] += 1
    else:
        try:
            count, expected = _reference(data, ending)
        except (ValueError, OverflowError):
            OUTCOMES[suite, BEYOND] += 1
            _check_stream_goes_on(data, ending)
            return
        assert sum(table.num_rows for table in tables) == count
        _check_values(file, tables, expected)
        OUTCOMES[suite, READ] += 1
    _check_stream_goes_on(data, ending)


def _check_reason(reason: str) -> None:
    assert reason.startswith("file."), reason
    assert "\n" not in reason, reason
    assert len(reason) < 600, reason


def _check_values(file: DataFile, tables: list[pa.Table], expected: dict[str, list[Any]]) -> None:
    """Compare plain values with those of the format's library; others must have a type, and convert to valid JSON."""
    for column in file.schema:
        kind = natural_type(column.type)
        if kind is None:
            assert pa.types.is_null(column.type), f"{column.name}: {column.type} has no rule"
            continue
        values: list[Any] = []
        for table in tables:
            array, _ = conform_column(table.column(column.name).combine_chunks(), kind)
            values += array.to_pylist() if kind in ("int64", "bool", "bytes", "string", "json") else []
        if kind == "json":
            for text in values:
                json.loads(text or "null")
        elif values and column.name in expected and values != expected[column.name]:  # a union's values are JSON
            assert [json.loads(text) for text in values] == expected[column.name], column.name


def _reference(data: bytes, ending: str) -> tuple[int, dict[str, list[Any]]]:
    """Return the number of rows and the values of plain columns, as the format's library reads them."""
    if ending == "avro":
        rows = list(fastavro.reader(io.BytesIO(data)))
        names = rows[0] if rows and isinstance(rows[0], dict) else ()
        columns = {n: [row[n] for row in rows] for n in names}
        return len(rows), {n: v for n, v in columns.items() if all(isinstance(x, PLAIN) for x in v)}
    table = pq.ParquetFile(io.BytesIO(data)).read()
    columns = {f.name: table.column(f.name).to_pylist() for f in table.schema if _is_plain(f.type)}
    return table.num_rows, columns


def _is_plain(kind: pa.DataType) -> bool:
    t = pa.types
    if t.is_dictionary(kind):
        return _is_plain(kind.value_type)
    return bool(t.is_int64(kind) or t.is_int32(kind) or t.is_boolean(kind) or t.is_string(kind) or t.is_binary(kind))


def _check_stream_goes_on(data: bytes, ending: str) -> None:
    columns = {"id": {"type": "int64", "nullable": False}}
    merging = InProcess(contract(mode="append", key="position", order=[], columns=columns))
    merging.land(merging.put(data, ending, part=1), merging.put(parquet([{"id": 1_234_567}]), part=2))
    (balance,) = merging.merge()
    balance.check("public file")
    assert merging.query("SELECT count(*) FROM raw_shop.orders WHERE id = 1234567") == [(1,)]
    merging.warehouse.close()


def test_outcomes_are_written() -> None:
    """Runs last: writes the page when there is a path for it."""
    assert sum(OUTCOMES.values()) > 0
    if PAGE:
        Path(PAGE).write_text(page())


def page() -> str:
    """Return the page of the outcomes."""
    outcomes = (READ, BEYOND, REFUSED)
    suites = sorted({suite for suite, _ in OUTCOMES})
    rows = [f"| {suite} | {' | '.join(str(OUTCOMES[suite, each]) for each in outcomes)} |" for suite in suites]
    return "\n".join([HEAD, f"| files of | {' | '.join(outcomes)} |", "|---|---|---|---|", *rows, ""])
