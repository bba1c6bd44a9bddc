"""Every Arrow type has a rule for every contract type, and its example values become what the rule says."""

import ctypes
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from beam_job.steps.json_text import json_texts
from beam_job.steps.rows import conform_column
from beam_job.steps.types import RULES, arrow_type, family, fits, natural_type, unranged
from beam_job.steps.unwrap import cast_bytes
from millrace.domain.errors import FileRejected
from millrace.domain.types import PLAIN_TYPES, Column

DECLARED = (*PLAIN_TYPES, "text", "decimal(10,2)", "decimal(50,2)")


class ArrowSchema(ctypes.Structure):
    """The beginning of a type in Arrow's C interface: its format string."""

    _fields_ = (("format", ctypes.c_char_p), ("rest", ctypes.c_void_p * 8))


def imported(form: bytes) -> pa.DataType:
    """Return the type of a format string, for the types that pyarrow can read but not build."""
    capsule = pa.int64().__arrow_c_schema__()
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    ArrowSchema.from_address(get(capsule, b"arrow_schema")).format = form
    return pa.DataType._import_from_c_capsule(capsule)


class Secret(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    """A type of someone's own."""

    def __init__(self) -> None:
        super().__init__(pa.int64(), "someone.secret")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""


def extension(kind: pa.DataType, *values: Any) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


def union(build: Callable[..., pa.Array], *offsets: Any) -> pa.Array:
    return build(pa.array([0, 1], pa.int8()), *offsets, [pa.array([1, 2]), pa.array(["b", None])])


def of(kind: pa.DataType, *values: Any) -> pa.Array:
    return pa.array([*values, None], kind)


UUID = bytes(range(16))
UUID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"
AT = 1_700_000_000  # 2023-11-14T22:13:20Z

# One or more examples of each type: an array, the type of its new column, and the first value there.
EXAMPLES: list[tuple[pa.Array, str | None, Any]] = [
    (pa.nulls(2), None, None),
    (of(pa.bool_(), True), "bool", True),
    *((of(kind, 7), "int64", 7) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *((of(kind, 7), "int64", 7) for kind in (pa.uint8(), pa.uint16(), pa.uint32())),
    (of(pa.uint64(), 2**64 - 1), "decimal(20,0)", Decimal(2**64 - 1)),
    *((of(kind, np.float16(0.5)), "float64", 0.5) for kind in (pa.float16(), pa.float32(), pa.float64())),
    *((of(kind, "é"), "string", "é") for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *((of(kind, b"\x00\xff"), "bytes", b"\x00\xff") for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
    (of(pa.binary(2), b"\x00\xff"), "bytes", b"\x00\xff"),
    (of(pa.decimal32(5, 2), Decimal("1.50")), "decimal(5,2)", Decimal("1.50")),
    (of(pa.decimal64(12, 2), Decimal("1.50")), "decimal(12,2)", Decimal("1.50")),
    (of(pa.decimal128(38, 9), Decimal("1.5")), "decimal(38,9)", Decimal("1.500000000")),
    (of(pa.decimal128(5, -2), Decimal(1200)), "decimal(7,0)", Decimal(1200)),
    (of(pa.decimal128(5, 8), Decimal("0.00000001")), "decimal(8,8)", Decimal("0.00000001")),
    (of(pa.decimal128(38, -2), Decimal(1200)), "string", "1200"),
    (of(pa.decimal256(38, 2), Decimal("1.50")), "decimal(38,2)", Decimal("1.50")),
    (of(pa.decimal256(60, 2), Decimal("1E+50")), "string", f"{10**50}.00"),
    (of(pa.date32(), 1), "date", "1970-01-02"),
    (of(pa.date64(), 86_400_000), "date", "1970-01-02"),
    (of(pa.timestamp("s"), AT), "timestamp", "2023-11-14T22:13:20+00:00"),
    (of(pa.timestamp("ms", "America/New_York"), AT * 1_000), "timestamp", "2023-11-14T22:13:20+00:00"),
    (of(pa.timestamp("us", "UTC"), AT * 10**6), "timestamp", "2023-11-14T22:13:20+00:00"),
    (of(pa.timestamp("us"), AT * 10**6), "timestamp", "2023-11-14T22:13:20+00:00"),
    (of(pa.timestamp("ns"), AT * 10**9), "timestamp", "2023-11-14T22:13:20+00:00"),
    (of(pa.time32("s"), 3_661), "string", "01:01:01"),
    (of(pa.time32("ms"), 86_400_000), "string", "24:00:00.000"),
    (of(pa.time64("us"), 1), "string", "00:00:00.000001"),
    (of(pa.time64("ns"), 1), "string", "00:00:00.000000001"),
    *((of(pa.duration(unit), 5), "string", text) for unit, text in (("s", "PT5S"), ("ms", "PT0.005S"))),
    *((of(pa.duration(unit), -5), "string", t) for unit, t in (("us", "PT-0.000005S"), ("ns", "PT-0.000000005S"))),
    (of(pa.month_day_nano_interval(), (1, -2, 3)), "string", "P1M-2DT0.000000003S"),
    (of(pa.month_day_nano_interval(), (0, 0, 0)), "string", "PT0S"),
    *((of(kind, [1, 2]), "json", "[1, 2]") for kind in (pa.list_(pa.int8()), pa.large_list(pa.int8()))),
    *((of(kind, [1, 2]), "json", "[1, 2]") for kind in (pa.list_view(pa.int8()), pa.large_list_view(pa.int8()))),
    (of(pa.list_(pa.int8(), 2), [1, 2]), "json", "[1, 2]"),
    (of(pa.struct([("b", pa.int8()), ("a", pa.string())]), {"b": 1, "a": "é"}), "json", '{"a": "\\u00e9", "b": 1}'),
    (of(pa.map_(pa.string(), pa.int8()), [("b", 1), ("a", None)]), "json", '{"a": null, "b": 1}'),
    (union(pa.UnionArray.from_sparse), "json", "1"),
    (union(pa.UnionArray.from_dense, pa.array([1, 0], pa.int32())), "json", "2"),
    (of(pa.string(), "x").dictionary_encode(), "string", "x"),
    (of(pa.int64(), 7).dictionary_encode(), "int64", 7),
    (pa.RunEndEncodedArray.from_arrays([1, 2], of(pa.string(), "x")), "string", "x"),
    (extension(pa.uuid(), UUID, None), "string", UUID_TEXT),
    (extension(pa.json_(pa.string()), '{"a" : 1}', None), "json", '{"a" : 1}'),
    (extension(pa.bool8(), 1, None), "bool", True),
    (extension(pa.fixed_shape_tensor(pa.int8(), [2]), [1, 2], None), "json", "[1, 2]"),
    (extension(pa.opaque(pa.int64(), "x", "y"), 7, None), "int64", 7),
    (extension(Secret(), 7, None), "int64", 7),
]
UNREADABLE = [imported(b"tiM"), imported(b"tiD")]  # pyarrow knows these types, and can't make a column of them
by_type = pytest.mark.parametrize(
    ("column", "natural", "first"), EXAMPLES, ids=[f"{i}-{str(c.type)[:25]}" for i, (c, _, _) in enumerate(EXAMPLES)]
)


def test_every_arrow_type_has_an_example() -> None:
    known = {value: name for name, value in vars(pa.lib).items() if name.startswith("Type_")}
    seen = {column.type.id for column, _, _ in EXAMPLES} | {kind.id for kind in UNREADABLE}
    assert {name for value, name in known.items() if value not in seen} == set()
    extensions = {
        kind for kind in vars(pa).values() if isinstance(kind, type) and issubclass(kind, pa.BaseExtensionType)
    }
    abstract = {pa.BaseExtensionType, pa.ExtensionType, pa.UnknownExtensionType}
    assert extensions - abstract == {type(c.type) for c, _, _ in EXAMPLES} & extensions


@by_type
def test_every_type_has_one_rule_per_contract_type(column: pa.Array, natural: str | None, first: Any) -> None:
    assert family(column.type) in RULES
    assert {fits(column.type, declared) for declared in DECLARED} <= {"same", "safe", "check", "no"}
    assert natural_type(column.type) == natural
    if natural:
        assert fits(column.type, natural) != "no"
        Column(type=natural)
    assert fits(column.type, "text") != "no", "a column with any_type takes every type"


@by_type
def test_new_column_holds_the_values(column: pa.Array, natural: str | None, first: Any) -> None:
    if natural is None:
        return
    converted, bad = conform_column(column, natural)
    value = converted[0].as_py()
    assert (value.isoformat() if natural in ("date", "timestamp") else value) == first
    assert bad is None or not bad.any()
    assert pa.types.is_union(column.type) or converted.to_pylist()[1] is None


@by_type
@pytest.mark.parametrize("declared", DECLARED)
def test_values_become_what_the_rule_says(column: pa.Array, natural: Any, first: Any, declared: str) -> None:
    rule = fits(column.type, declared)
    for part in (column, column.slice(1), column.slice(0, 0)):
        if rule == "no":
            with pytest.raises(FileRejected, match="the contract says"):
                conform_column(part, declared)
            continue
        converted, bad = conform_column(part, declared)
        assert converted.type == arrow_type(declared)
        assert len(converted) == len(part)
        assert bad is None or rule == "check"


@by_type
def test_every_type_may_stand_in_a_record(column: pa.Array, natural: Any, first: Any) -> None:
    record = pa.StructArray.from_arrays([column], ["v"])
    keyed = pa.StructArray.from_arrays([record, record], ["b", "a"])
    for rows in (keyed, keyed.slice(1)):
        for text in json_texts(rows):
            parsed = json.loads(text)
            assert list(parsed) == ["a", "b"]
            assert "b'" not in text
    assert json_texts(keyed.slice(1)) == json_texts(keyed)[1:]
    assert len(json_texts(pa.ListArray.from_arrays([0, 1, 2], column))) == 2


@pytest.mark.parametrize("kind", UNREADABLE, ids=str)
def test_type_that_no_column_has_is_refused(kind: pa.DataType) -> None:
    assert {fits(kind, declared) for declared in DECLARED} == {"no"}
    with pytest.raises(FileRejected, match=r"no rule for the Arrow type (month|day_time)_interval"):
        natural_type(kind)


def test_unknown_type_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_job.steps.types.FAMILIES", ())
    assert fits(pa.int32(), "int64") == "no"
    with pytest.raises(FileRejected, match="no rule for the Arrow type int32"):
        natural_type(pa.int32())


def test_texts_beyond_one_array_come_in_chunks() -> None:
    texts = pa.array(["a" * 60, None, "b" * 60, "c"], pa.large_string())
    chunks = cast_bytes(texts, pa.string(), most=100)
    assert chunks.type == pa.string()
    assert chunks.num_chunks > 1
    assert chunks.to_pylist() == texts.to_pylist()
    assert pc.sum(pc.binary_length(chunks)).as_py() == 121


TIMES = pa.struct([("t", pa.time32("s")), ("u", pa.list_(pa.time64("us"))), ("d", pa.date64()), ("s", pa.string())])


@pytest.mark.parametrize("kind", [TIMES, pa.list_(TIMES), pa.map_(pa.string(), TIMES), pa.struct([("a", TIMES)])])
def test_times_out_of_range_are_valid_integers(kind: pa.DataType) -> None:
    value: Any = {"t": 86_400, "u": [2**62], "d": 1, "s": "x"}
    value = {"list": [value], "map": [("k", value)]}.get(str(kind)[:4].rstrip("<"), value)
    value = {"a": value} if kind == pa.struct([("a", TIMES)]) else value
    column = pa.chunked_array([pa.array([value, None], kind)])
    with pytest.raises(pa.ArrowInvalid):
        column.validate(full=True)
    column.cast(unranged(kind)).validate(full=True)
