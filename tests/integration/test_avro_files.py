"""Avro files of every type and codec of the format are read whole, whoever wrote them."""

import io
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import cramjam
import fastavro
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_job.steps import avro_reader, files
from millrace.lake.avro import decoded_blocks
from tests.support.avro import data_file, read, written
from tests.support.in_process import InProcess
from tests.support.merging import contract, upsert

Pairs = list[tuple[Any, Any]]
ID = {"name": "id", "type": "long"}
FAST = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@dataclass
class Typed:
    """An Avro type, a value to write, and the value to read."""

    schema: Any
    values: st.SearchStrategy[tuple[Any, Any]]


def same(schema: Any, values: st.SearchStrategy[Any]) -> Typed:
    return Typed(schema, values.map(lambda value: (value, value)))


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
LONG = st.integers(-(2**63), 2**63 - 1)
PLAIN = [
    same("boolean", st.booleans()),
    same("int", st.integers(-(2**31), 2**31 - 1)),
    same("long", LONG),
    same("float", st.floats(width=32, allow_nan=False)),
    same("double", st.floats(allow_nan=False)),
    same("string", TEXT),
    same("bytes", st.binary(max_size=20)),
    same({"type": "string", "logicalType": "uuid"}, st.uuids().map(str)),
    same({"type": "int", "logicalType": "date"}, st.dates()),
    same(
        {"type": "long", "logicalType": "timestamp-micros"},
        st.datetimes(datetime(1900, 1, 1), timezones=st.just(UTC)),
    ),
    same({"type": "long", "logicalType": "local-timestamp-micros"}, st.datetimes(datetime(1900, 1, 1))),
    same({"type": "long", "logicalType": "time-micros"}, st.times()),
    same({"type": "int", "logicalType": "unheard-of"}, st.integers(0, 9)),
]
SCALARS = [
    *PLAIN,
    same("null", st.none()),
    same({"type": "fixed", "name": "bytes_3", "size": 3}, st.binary(min_size=3, max_size=3)),
    same({"type": "fixed", "name": "span", "size": 12, "logicalType": "duration"}, st.just(b"\x01\0\0\0" * 3)),
    same({"type": "enum", "name": "colour", "symbols": ["RED", "GREEN"]}, st.sampled_from(["RED", "GREEN"])),
    *[
        same({"type": "bytes", "logicalType": "decimal", "precision": p, "scale": 2}, st.decimals(-999, 999, places=2))
        for p in (5, 30, 60)
    ],
    same(
        {"type": "fixed", "name": "money", "size": 8, "logicalType": "decimal", "precision": 9, "scale": 2},
        st.decimals(-999, 999, places=2),
    ),
    Typed(
        ["null", "long", "string", "boolean"],
        st.one_of(st.none(), LONG, TEXT, st.booleans()).map(
            lambda v: (v, None if v is None else json.dumps(v, ensure_ascii=False))
        ),
    ),
]


def nullable(kind: Typed) -> Typed:
    if isinstance(kind.schema, list) or kind.schema == "null":
        return kind
    return Typed(["null", kind.schema], st.one_of(st.just((None, None)), kind.values))


def array(kind: Typed) -> Typed:
    values = st.lists(kind.values, max_size=3).map(lambda pairs: ([a for a, _ in pairs], [b for _, b in pairs]))
    return Typed({"type": "array", "items": kind.schema}, values)


def mapping(kind: Typed) -> Typed:
    values = st.dictionaries(TEXT, kind.values, max_size=3).map(
        lambda d: ({k: a for k, (a, _) in d.items()}, [(k, b) for k, (_, b) in d.items()])
    )
    return Typed({"type": "map", "values": kind.schema}, values)


def record(kind: Typed) -> Typed:
    schema = {"type": "record", "name": "inner", "fields": [{"name": "part", "type": kind.schema}]}
    return Typed(schema, kind.values.map(lambda pair: ({"part": pair[0]}, {"part": pair[1]})))


NESTED = [wrap(kind) for wrap in (array, mapping, record) for kind in SCALARS]
DEEP = [nullable(wrap(nullable(kind))) for wrap in (array, mapping, record) for kind in NESTED if wrap is not record]
EVERY = [*SCALARS, *map(nullable, SCALARS), *NESTED, *DEEP]


@FAST
@given(st.data())
def test_both_decoders_read_the_same(data: st.DataObject) -> None:
    kinds = [data.draw(st.sampled_from([kind, nullable(kind)])) for kind in PLAIN]
    rows = data.draw(st.lists(st.tuples(*(kind.values for kind in kinds)), min_size=1, max_size=30))
    fields = [{"name": f"c{n}", "type": kind.schema} for n, kind in enumerate(kinds)]
    tables = []
    for more in ([], [{"name": "extra", "type": "null"}]):  # a type that polars is not given
        buffer = io.BytesIO()
        schema = {"type": "record", "name": "row", "fields": fields + more}
        fastavro.writer(
            buffer, schema, [{f"c{n}": a for n, (a, _) in enumerate(row)} | {"extra": None} for row in rows]
        )
        tables.append(read(buffer.getvalue()).select(range(len(kinds))).combine_chunks())
    assert tables[0].equals(tables[1])
    assert tables[0].to_pylist() == [{f"c{n}": b for n, (_, b) in enumerate(row)} for row in rows]


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: json.dumps(kind.schema)[:60])
def test_every_type_comes_back(kind: Typed) -> None:
    @settings(max_examples=5, deadline=None, database=None)
    @given(st.lists(kind.values, min_size=1, max_size=8))
    def check(pairs: Pairs) -> None:
        assert read(written(kind.schema, [a for a, _ in pairs])).column("v").to_pylist() == [b for _, b in pairs]

    check()


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "bzip2", "xz"])
@pytest.mark.parametrize("schema", ["string", {"type": "array", "items": "string"}])
def test_every_codec_is_read(codec: str, schema: Any) -> None:
    values = [f"value {n}" if schema == "string" else [f"value {n}"] for n in range(500)]
    assert read(written(schema, values, codec)).column("v").to_pylist() == values


def test_zstandard_is_read() -> None:
    data = written("string", ["a", "b"])
    ((rows, plain),) = decoded_blocks(data)
    packed = bytes(cramjam.zstd.compress(plain))
    header = data[: data.index(plain) - 2]
    changed = header.replace(b"\x08null", b"\x12zstandard")
    sync = data[-16:]
    assert len(packed) < 64
    file = changed + bytes([2 * rows, 2 * len(packed)]) + packed + sync
    assert read(file).column("v").to_pylist() == ["a", "b"]


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "xz"])
@pytest.mark.parametrize("schema", ["long", {"type": "map", "values": "long"}])
def test_file_without_rows_is_empty(codec: str, schema: Any) -> None:
    table = read(written(schema, [], codec))
    assert table.num_rows == 0
    assert table.column_names == ["v"]


def test_defaults_and_names_hide_no_rows() -> None:
    data = written("int", [7], default=7, doc="a", aliases=["w"]).replace(b'"name": "row"', b'"name": "r-w"')
    assert read(data).column("v").to_pylist() == [7]


def test_type_is_used_again_by_its_name() -> None:
    point = {"type": "record", "name": "point", "namespace": "a.b", "fields": [{"name": "x", "type": "int"}]}
    pair = {
        "type": "record",
        "name": "pair",
        "fields": [{"name": "p", "type": point}, {"name": "q", "type": "a.b.point"}],
    }
    value = {"p": {"x": 1}, "q": {"x": 2}}
    assert read(written(pair, [value])).column("v").to_pylist() == [value]


def test_name_of_two_types_hides_no_value() -> None:
    parts = [{"type": "record", "name": "part", "fields": [{"name": "x", "type": kind}]} for kind in ("int", "long")]
    fields = [{"name": "p", "type": parts[0]}, {"name": "q", "type": parts[1] | {"name": "tart"}}]
    value = {"p": {"x": 1}, "q": {"x": 2**40}}
    data = written({"type": "record", "name": "pair", "fields": fields}, [value]).replace(b"tart", b"part")
    assert read(data).column("v").to_pylist() == [value]


def test_rows_within_rows_become_json() -> None:
    fields = [ID, {"name": "next", "type": ["null", "row"]}]
    buffer = io.BytesIO()
    rows = [{"id": 1, "next": {"id": 2, "next": None}}]
    fastavro.writer(buffer, {"type": "record", "name": "row", "fields": fields}, rows)
    (row,) = read(buffer.getvalue()).to_pylist()
    assert row["id"] == 1
    assert json.loads(row["next"]) == rows[0]["next"]


def test_type_within_itself_becomes_json() -> None:
    tree = {
        "type": "record",
        "name": "tree",
        "fields": [{"name": "n", "type": "int"}, {"name": "next", "type": ["null", "tree"]}],
    }
    value = {"n": 1, "next": {"n": 2, "next": None}}
    (text,) = read(written(tree, [value])).column("v").to_pylist()
    assert json.loads(text) == value


def test_union_keeps_the_type_of_its_branch() -> None:
    day, instant = {"type": "int", "logicalType": "date"}, {"type": "long", "logicalType": "timestamp-millis"}
    values = [date(2024, 2, 29), datetime(2024, 2, 29, 12, tzinfo=UTC), b"\xff", None]
    table = read(written(["null", instant, day, "bytes"], values))
    assert table.column("v").to_pylist() == ['"2024-02-29"', '"2024-02-29T12:00:00.000Z"', '"/w=="', None]


def test_instants_beyond_python_are_read() -> None:
    for unit, arrow in (("nanos", "ns"), ("micros", "us"), ("millis", "ms")):
        table = read(written({"type": "long", "logicalType": f"timestamp-{unit}"}, [2**60 + 1, -(2**60)]))
        assert table.schema.field("v").type == pa.timestamp(arrow, "UTC")
        assert table.column("v").cast(pa.int64()).to_pylist() == [2**60 + 1, -(2**60)]


def test_decimal_longer_than_arrows_is_text() -> None:
    schema = {"type": "bytes", "logicalType": "decimal", "precision": 90, "scale": 2}
    number = Decimal("9" * 88 + ".25")
    assert read(written(schema, [number])).column("v").to_pylist() == [str(number)]


@pytest.mark.parametrize("schema", ["long", {"type": "array", "items": "long"}])
def test_rows_are_in_order_over_groups(schema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro_reader, "GROUP_BYTES", 1_000)
    monkeypatch.setattr(avro_reader, "SLICE_ROWS", 100)
    monkeypatch.setattr(files, "WHOLE_BYTES", 2_000)
    monkeypatch.setattr(files, "CHUNK_ROWS", 90)
    values = [n if schema == "long" else [n] for n in range(3_000)]
    chunks = list(data_file(written(schema, values, "deflate")).chunks())
    assert len(chunks) > 30
    position = 0
    for first, table in chunks:
        assert first == position
        assert table.column("v").to_pylist() == values[first : first + table.num_rows]
        position += table.num_rows
    assert position == 3_000


def test_only_wanted_columns_are_read() -> None:
    schema = {"type": "record", "name": "row", "fields": [ID, {"name": "m", "type": {"type": "map", "values": "int"}}]}
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, [{"id": 1, "m": {"a": 1}}])
    assert read(buffer.getvalue(), ["id", "absent"]).to_pylist() == [{"id": 1}]
    assert [table.num_rows for _, table in data_file(buffer.getvalue()).chunks(["absent"])] == [1]


def test_map_of_an_old_destination_is_merged() -> None:
    merging = InProcess(contract())
    own = {
        "_airbyte_ab_id": "x",
        "_airbyte_emitted_at": 1_700_000_000_000,
        "_airbyte_additional_properties": {"a": "b"},
    }
    row = own | upsert(1, 10)
    kinds = {int: "long", str: "string", dict: {"type": "map", "values": "string"}, type(None): "long"}
    fields = [{"name": n, "type": ["null", kinds[type(v)]], "default": None} for n, v in row.items()]
    buffer = io.BytesIO()
    fastavro.writer(buffer, {"type": "record", "name": "row", "fields": fields}, [row], codec="deflate")
    merging.land(merging.put(buffer.getvalue(), "avro"))
    assert merging.merge()[0].merged == 1
    assert merging.live() == {1: "v10"}
