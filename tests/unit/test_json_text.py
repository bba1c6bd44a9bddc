"""Nested values become exact JSON, and a text is JSON however long or deep it is."""

import base64
import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from beam_job.steps.json_rules import is_json
from beam_job.steps.rows import conform_column

AS_JSON: list[tuple[pa.DataType, Any, str]] = [
    (pa.binary(), b"\x00\xff", f'"{base64.b64encode(bytes([0, 255])).decode()}"'),
    (pa.decimal256(60, 2), Decimal("1E+50"), f"{10**50}.00"),
    (pa.decimal128(9, 8), Decimal("1E-8"), "0.00000001"),
    (pa.uint64(), 2**64 - 1, str(2**64 - 1)),
    (pa.float64(), 1e300, "1e+300"),
    (pa.date32(), 2_932_897, '"+10000-01-01"'),
    (pa.date32(), -719_529, '"-0001-12-31"'),
    (pa.date32(), -735_525, '"-0044-03-15"'),
    (pa.date32(), 2**31 - 1, '"+5881580-07-11"'),
    (pa.timestamp("us", "Asia/Tokyo"), 1, '"1970-01-01T00:00:00.000001Z"'),
    (pa.timestamp("s"), 253_402_300_800, '"+10000-01-01T00:00:00Z"'),
    (pa.timestamp("ms"), -(2**63), '"-292275055-05-16T16:47:04.192Z"'),
    (pa.timestamp("ns"), -1, '"1969-12-31T23:59:59.999999999Z"'),
    (pa.time64("us"), 86_400_000_000, '"24:00:00"'),
    (pa.duration("s"), 2**62, f'"PT{2**62}S"'),
    (pa.map_(pa.int64(), pa.bool_()), [(2, True), (1, False), (2, False)], '{"1": false, "2": false}'),
    (pa.map_(pa.date32(), pa.binary()), [(0, b"a")], '{"1970-01-01": "YQ=="}'),
    (pa.map_(pa.struct([("a", pa.int8())]), pa.int8()), [({"a": 1}, 2)], '{"{\\"a\\": 1}": 2}'),
    (pa.struct([('%s"', pa.int8()), ("{}", pa.int8())]), {'%s"': 1, "{}": 2}, '{"%s\\"": 1, "{}": 2}'),
    (pa.struct([]), {}, "{}"),
    (pa.list_(pa.struct([("a", pa.list_(pa.null()))])), [{"a": [None]}, None], '[{"a": [null]}, null]'),
]


@pytest.mark.parametrize(("kind", "value", "text"), AS_JSON, ids=lambda v: str(v)[:40])
def test_nested_value_is_exact_json(kind: pa.DataType, value: Any, text: str) -> None:
    column = pa.array([[value], [], None, [None, value]], pa.list_(kind))
    converted, bad = conform_column(column, "json")
    assert converted.to_pylist() == [f"[{text}]", "[]", None, f"[null, {text}]"]
    assert bad is not None
    assert not bad.any()
    json.loads(converted[0].as_py())


IMPOSSIBLE: list[tuple[pa.DataType, Any]] = [
    (pa.float32(), math.nan),
    (pa.float64(), -math.inf),
    (pa.time64("us"), 2**62),
    (pa.time32("s"), -1),
    (pa.struct([("a", pa.list_(pa.float16()))]), {"a": [np.float16(math.inf)]}),
    (pa.map_(pa.string(), pa.float64()), [("a", math.nan)]),
]


@pytest.mark.parametrize(("kind", "value"), IMPOSSIBLE, ids=lambda v: str(v)[:40])
def test_value_without_json_marks_its_row(kind: pa.DataType, value: Any) -> None:
    converted, bad = conform_column(pa.array([[value], [], None], pa.list_(kind)), "json")
    assert converted.to_pylist() == [None, "[]", None]
    assert bad is not None
    assert bad.tolist() == [True, False, False]


def test_doubled_name_in_a_record_marks_its_row() -> None:
    column = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    _, bad = conform_column(column, "json")
    assert bad is not None
    assert bad.tolist() == [True]


def test_json_type_in_a_record_stays_json() -> None:
    texts = pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(['{"x": 1}', "{", None]))
    column = pa.StructArray.from_arrays([texts], ["v"])
    converted, bad = conform_column(column, "json")
    assert converted.to_pylist() == ['{"v": {"x": 1}}', None, '{"v": null}']
    assert bad is not None
    assert bad.tolist() == [False, True, False]


DEEP = 499


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("[" * DEEP + ' 1, -0.5e3, "x\\n", true, {}, [], {"a": null} ' + "]" * DEEP, True),
        ('{"a": ' * DEEP + '"\\ud83d\\ude00"' + "}" * DEEP + "\n", True),
        ("[" * DEEP + '"\\ud83d"' + "]" * DEEP, False),
        ("[" * DEEP + "1,]" + "]" * (DEEP - 1), False),
        ("[" * DEEP + '{"a"}' + "]" * DEEP, False),
        ("[" * DEEP + '{"a": 1,}' + "]" * DEEP, False),
        ("[" * DEEP + "{1: 1}" + "]" * DEEP, False),
        ("[" * DEEP + "NaN" + "]" * DEEP, False),
        ("[" * DEEP + "01" + "]" * DEEP, False),
        ("[" * DEEP + "}" + "]" * (DEEP - 1), False),
        ("[" * DEEP + "]" * DEEP + "]", False),
        ("[" * DEEP + "]" * (DEEP - 1), False),
        ("[" * 500 + "]" * 500, True),
        ("[" * 501 + "]" * 501, False),
        ("[" + "[[]], " * 1_000 + "[]]", True),
        ('["' + "[" * 1_000 + '\\""]', True),
        ('{"n": "' + "1" * 10_000 + '"}', True),
        ('{"n": ' + "1" * 10_000 + "}", False),
    ],
    ids=lambda v: str(v)[-20:].strip(),
)
def test_deep_or_long_json_is_read_to_its_end(text: str, valid: bool) -> None:
    assert is_json(text) is valid


def test_deep_json_is_read_from_a_deep_stack() -> None:
    def descend(frames: int) -> bool:
        return descend(frames - 1) if frames else is_json("[" * DEEP + "]" * DEEP)

    assert descend(600) is True
