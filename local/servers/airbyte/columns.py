"""Makes Arrow columns of a connector's records: all values of a column at once, one by one where some do not fit."""

import json
import os
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from local.connectors.columns import Kind
from millrace.domain.types import DECIMAL

Json = dict[str, Any]
Changes = dict[int, list[Json]]
DOES_NOT_FIT = (pa.ArrowException, ValueError, TypeError, OverflowError)
CHANGE = pa.struct([("field", pa.string()), ("change", pa.string()), ("reason", pa.string())])
META = pa.struct([("sync_id", pa.int64()), ("changes", pa.list_(CHANGE))])


def arrow_type(declared: Json) -> pa.DataType:
    """Column type of a JSON schema property; `contract_type` is what our own connectors add."""
    if DECIMAL.match(str(declared.get("contract_type"))):
        return Kind(declared["contract_type"]).arrow
    kinds = declared.get("type", "string")
    kind = next((k for k in ([kinds] if isinstance(kinds, str) else kinds) if k != "null"), "string")
    if kind == "string":
        return {"date": pa.date32(), "date-time": pa.timestamp("us", "UTC")}.get(
            str(declared.get("format")), pa.string()
        )
    return {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}.get(kind, pa.string())


def column(name: str, kind: pa.DataType, values: list[Any], changes: Changes) -> pa.Array:
    """One column; a value that does not fit becomes null, with an entry in its row's `changes`."""
    try:
        if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
            return pa.array(values, pa.string()).cast(kind)
        return pa.array(values, kind)
    except DOES_NOT_FIT:
        return pa.array(_one_by_one(name, kind, values, changes), kind)


def _one_by_one(name: str, kind: pa.DataType, values: list[Any], changes: Changes) -> list[Any]:
    convert, fitting = _converter(kind), []
    for row, value in enumerate(values):
        try:
            fitting.append(None if value is None else convert(value))
        except DOES_NOT_FIT:
            fitting.append(None)
            lost = {"field": name, "change": "NULLED", "reason": "DESTINATION_SERIALIZATION_ERROR"}
            changes.setdefault(row, []).append(lost)
    return fitting


def meta_column(job_id: int, rows: int, changes: Changes) -> pa.Array:
    """Airbyte's own struct of each row."""
    if changes:
        listed = pa.array([changes.get(row, ()) for row in range(rows)], pa.list_(CHANGE))
    else:
        none = pa.array([], CHANGE)
        listed = pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), none)
    return pa.StructArray.from_arrays([pa.repeat(job_id, rows), listed], fields=list(META))


def random_ids(count: int) -> pa.Array:
    """So many random UUIDs (version 4)."""
    digits = np.frombuffer(os.urandom(16 * count).hex().encode(), np.uint8).reshape(count, 32)
    texts = np.full((count, 36), ord("-"), np.uint8)
    for begin, end, at in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
        texts[:, at : at + end - begin] = digits[:, begin:end]
    texts[:, 14] = ord("4")
    texts[:, 19] = np.frombuffer(b"89ab", np.uint8)[texts[:, 19] % 4]
    offsets = np.arange(0, 36 * (count + 1), 36, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(texts.tobytes()))


def _converter(kind: pa.DataType) -> Callable[[Any], Any]:
    """Makes a JSON value its column's type; raises ValueError, TypeError or OverflowError when it does not fit."""
    if pa.types.is_date(kind):
        return date.fromisoformat
    if pa.types.is_timestamp(kind):
        return datetime.fromisoformat
    if pa.types.is_decimal(kind):
        return Decimal
    others: dict[pa.DataType, Callable[[Any], Any]] = {pa.int64(): _whole, pa.float64(): float, pa.bool_(): _truth}
    return others.get(kind, _text)


def _whole(value: Any) -> int:
    number = int(value)
    if isinstance(value, bool) or (not isinstance(value, str) and number != value) or not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text.encode()  # fails for half a surrogate pair
    return text
