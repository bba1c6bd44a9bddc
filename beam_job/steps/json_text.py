"""Columns of any Arrow type in, the JSON text (RFC 8259) of each value out, built by type and never by `repr`.

Bytes are base64; maps are objects; dates, times, instants (UTC) and durations are ISO 8601 texts of any year; decimals
and integers are exact numbers. Keys are in order. A value that JSON can't hold, such as NaN, has the text "".
"""

import base64
import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pyarrow as pa

from beam_job.steps.iso_text import date_text, duration_text, instant_text, integers, interval_text, time_text
from beam_job.steps.json_rules import is_json
from beam_job.steps.storage_types import uuid_text
from beam_job.steps.types import is_binary, is_text

NULL, IMPOSSIBLE = "null", ""
quoted: Callable[[str], str] = json.encoder.encode_basestring_ascii


def json_texts(column: pa.Array) -> list[str]:
    """Return the JSON text of each value; that of NULL is `null`."""
    kind = column.type
    if pa.types.is_null(kind):
        return [NULL] * len(column)
    if pa.types.is_nested(kind) or pa.types.is_run_end_encoded(kind) or pa.types.is_dictionary(kind):
        texts = next(write for holds, write in _NESTED if holds(kind))(column)
    elif isinstance(kind, pa.BaseExtensionType):
        texts = _extension(column)
    else:
        texts = _scalars(column)
    if column.null_count == 0:
        return texts
    return [t if valid else NULL for t, valid in zip(texts, column.is_valid().to_pylist(), strict=True)]


def plain_texts(column: pa.Array) -> list[str | None]:
    """Return values that are not nested as texts, without the quotes of JSON; NULL is None."""
    return [None if t == NULL else t[1:-1] if t[:1] == '"' else t for t in json_texts(column)]


def _scalars(column: pa.Array) -> list[str]:
    kind, t = column.type, pa.types
    if is_text(kind):
        return [NULL if v is None else quoted(v) for v in column.to_pylist()]
    if is_binary(kind):
        return [NULL if v is None else f'"{base64.b64encode(v).decode()}"' for v in column.to_pylist()]
    if t.is_boolean(kind):
        return ["true" if v else "false" for v in column.to_pylist()]
    if t.is_integer(kind):
        return [str(v) for v in column.to_pylist()]
    if t.is_floating(kind):
        numbers = column.cast(pa.float64())
        return [repr(v) if v is not None and abs(v) < np.inf else IMPOSSIBLE for v in numbers.to_pylist()]
    if t.is_decimal(kind):
        return [NULL if v is None else f"{v:f}" for v in column.to_pylist()]
    return [f'"{text}"' if text else IMPOSSIBLE for text in _times(column)]


def _times(column: pa.Array) -> list[str]:
    """Return dates, times, instants, durations and intervals as ISO 8601."""
    kind, t = column.type, pa.types
    if t.is_interval(kind):
        return [interval_text(*(v or (0, 0, 0))) for v in column.to_pylist()]
    numbers = integers(column)
    if t.is_date(kind):
        return [date_text(v if t.is_date32(kind) else v // 86_400_000) for v in numbers]
    if t.is_time(kind):
        return [time_text(v, kind.unit) for v in numbers]
    if t.is_timestamp(kind):
        return [instant_text(v, kind.unit) for v in numbers]
    return [duration_text(v, kind.unit) for v in numbers]


def _struct(column: pa.Array) -> list[str]:
    names = [field.name for field in column.type]
    if len(set(names)) < len(names):
        return [IMPOSSIBLE] * len(column)  # one object can not have two values of one key
    if not names:
        return ["{}"] * len(column)
    order = sorted(range(len(names)), key=names.__getitem__)
    children = [json_texts(column.field(position)) for position in order]
    form = "{" + ", ".join(quoted(names[i]).replace("%", "%%") + ": %s" for i in order) + "}"
    return [IMPOSSIBLE if IMPOSSIBLE in row else form % row for row in zip(*children, strict=True)]


def _list(column: pa.Array) -> list[str]:
    kind, t = column.type, pa.types
    if t.is_fixed_size_list(kind):
        size, first = kind.list_size, column.offset
        ends = [(i * size, (i + 1) * size) for i in range(len(column))]
        low, high = first * size, (first + len(column)) * size
    elif t.is_list_view(kind) or t.is_large_list_view(kind):
        starts = column.offsets.to_pylist()
        ends = [(s, s + n) for s, n in zip(starts, column.sizes.to_pylist(), strict=True)]
        low, high = 0, len(column.values)
    else:
        low, high, ends = _ranges(column)
    texts = json_texts(column.values.slice(low, high - low))
    return [_joined(texts[start:end]) for start, end in ends]


def _joined(texts: list[str]) -> str:
    return IMPOSSIBLE if IMPOSSIBLE in texts else "[" + ", ".join(texts) + "]"


def _ranges(column: pa.Array) -> tuple[int, int, list[tuple[int, int]]]:
    """Return the first and last position of a list column's values, and each row's range from the first."""
    offsets = column.offsets.to_pylist()
    if not len(column):
        return 0, 0, []
    return offsets[0], offsets[-1], [(start - offsets[0], end - offsets[0]) for start, end in pairwise(offsets)]


def _map(column: pa.Array) -> list[str]:
    low, high, ends = _ranges(column)
    keys = [_key(text) for text in json_texts(column.keys.slice(low, high - low))]
    values = json_texts(column.items.slice(low, high - low))
    return [_object(keys[start:end], values[start:end]) for start, end in ends]


def _key(text: str) -> str:
    """Return a key as a JSON text: other values than texts become one."""
    if text in (IMPOSSIBLE, NULL):
        return IMPOSSIBLE
    return text if text[0] == '"' else quoted(text)


def _object(keys: list[str], values: list[str]) -> str:
    """Return a map as an object; of two values of one key the last counts, as the Parquet format says."""
    if IMPOSSIBLE in keys or IMPOSSIBLE in values:
        return IMPOSSIBLE
    pairs = dict(zip(keys, values, strict=True))
    return "{" + ", ".join(f"{k}: {pairs[k]}" for k in sorted(pairs, key=lambda k: k[1:-1])) + "}"


def _union(column: pa.Array) -> list[str]:
    if not len(column):
        return []
    children = {code: json_texts(column.field(i)) for i, code in enumerate(column.type.type_codes)}
    rows = slice(column.offset, column.offset + len(column))  # pyarrow's own `type_codes` of a slice begin too early
    buffers = column.buffers()
    codes = np.frombuffer(buffers[1], np.int8)[rows].tolist()
    dense = column.type.mode == "dense"
    places = np.frombuffer(buffers[2], np.int32)[rows].tolist() if dense else range(len(column))
    return [children[code][place] for code, place in zip(codes, places, strict=True)]


def _dictionary(column: pa.Array) -> list[str]:
    texts = json_texts(column.dictionary)
    return [NULL if i is None else texts[i] for i in column.indices.to_pylist()]


def _runs(column: pa.Array) -> list[str]:
    texts = json_texts(column.values)
    ends = column.run_ends.to_numpy(zero_copy_only=False)
    rows = np.arange(column.offset, column.offset + len(column))
    return [texts[i] for i in np.searchsorted(ends, rows, side="right")]


def _extension(column: pa.Array) -> list[str]:
    kind, storage = column.type, column.storage
    if isinstance(kind, pa.JsonType):
        return [NULL if v is None else v if is_json(v) else IMPOSSIBLE for v in storage.to_pylist()]
    if isinstance(kind, pa.UuidType):
        return [NULL if v is None else f'"{uuid_text(v)}"' for v in storage.to_pylist()]
    return json_texts(storage.cast(pa.bool_()) if isinstance(kind, pa.Bool8Type) else storage)


_NESTED: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], list[str]]], ...] = (
    (pa.types.is_struct, _struct),
    (pa.types.is_map, _map),
    (pa.types.is_union, _union),
    (pa.types.is_dictionary, _dictionary),
    (pa.types.is_run_end_encoded, _runs),
    (pa.types.is_nested, _list),
)
