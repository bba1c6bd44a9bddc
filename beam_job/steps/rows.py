"""A file's columns in, columns of the contract's types out; a value that does not fit is reported, never changed."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.decimals import to_decimals
from beam_job.steps.iso_text import DAY, PER_SECOND, read_instant
from beam_job.steps.json_rules import are_json, are_kept
from beam_job.steps.json_text import IMPOSSIBLE, json_texts, plain_texts
from beam_job.steps.types import ROUNDED, UTC_US, arrow_type, family, fits, is_rounded, is_text
from beam_job.steps.unwrap import cast_bytes, unwrap
from millrace.contracts.stream import StreamContract
from millrace.domain.errors import FileRejected
from millrace.domain.types import Column

EXTRACTED_AT, GENERATION_ID = "_airbyte_extracted_at", "_airbyte_generation_id"
EMITTED_AT = "_airbyte_emitted_at"  # its name in destinations before 1.0
DELETED_AT = "_ab_cdc_deleted_at"
AIRBYTE_COLUMNS = (EXTRACTED_AT, EMITTED_AT, GENERATION_ID, DELETED_AT)  # Airbyte's columns that the merge uses
EXACT_INT = 1 << 53
EXACT_WHOLE = {16: (-2047.0, 2047.0), 32: (1 - 2.0**24, 2.0**24 - 1), 64: (-(2.0**63), 2.0**63 - 1024)}
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999

Mask = npt.NDArray[np.bool_]


def column_types(contract: StreamContract) -> dict[str, str]:
    """Return the types of the contract's columns and of the log columns that order its rows."""
    declared = {n: _declared(c) for n, c in contract.columns.items()}
    return declared | {n: contract.order_types[n] for n in contract.order}


def _declared(column: Column) -> str:
    if column.any_type:
        return "text"
    return column.type + ROUNDED if column.rounding == "half_even" else column.type


def check_types(schema: pa.Schema, contract: StreamContract, where: str) -> None:
    """Reject a file whose types contradict the contract, or that lacks a key or order column.

    Raises:
        FileRejected: names the object and every column.
    """
    wrong = []
    for name, declared in column_types(contract).items():
        position = schema.get_field_index(name)
        if position < 0:
            if name in contract.key or name in contract.order:
                wrong.append(f"{name} is missing")
        elif fits(schema.field(position).type, declared) == "no":
            wrong.append(f"{name} is {schema.field(position).type}, the contract says {declared}")
    if wrong:
        raise FileRejected(f"{where}: {'; '.join(wrong)}")


def checked_columns(schema: pa.Schema, contract: StreamContract) -> list[str]:
    """Return the columns whose values decide whether a row fits."""
    return [
        name
        for name, declared in column_types(contract).items()
        if (i := schema.get_field_index(name)) >= 0 and fits(schema.field(i).type, declared) == "check"
    ]


def conform_column(column: pa.Array, declared: str) -> tuple[pa.Array, Mask | None]:
    """Convert a column to the contract's type; the mask marks values that do not fit, which become NULL.

    Texts of more than 2 GB come back in chunks.

    Raises:
        FileRejected: no value of the column's type fits.
    """
    target, kind = arrow_type(declared), fits(column.type, declared)
    if kind == "same":
        return column, None
    if kind == "no":
        raise FileRejected(f"file.type: a column is {column.type}, the contract says {declared}")
    column = unwrap(column)
    group = family(column.type)
    if group == "null":
        return pa.nulls(len(column), target), None
    if declared == "json" or group == "nested":
        return _to_json(column, kept=declared == "json")
    if target == pa.string():
        return _to_text(column, str(group))
    if kind == "safe":
        return _cast_safe(column, target), None
    rounded = is_rounded(declared)
    by_value = ("text", "float", "decimal", "wide_decimal") if rounded else ("text", "float")
    if pa.types.is_decimal(target) and group in by_value:
        return to_decimals(column, target, rounded=rounded)
    return _cast_checked(column, target)


def _cast_safe(column: pa.Array, target: pa.DataType) -> pa.Array:
    return cast_bytes(column, target) if pa.types.is_binary(target) else column.cast(target)


def _to_json(column: pa.Array, *, kept: bool) -> tuple[pa.Array, Mask]:
    """Keep texts that are JSON and serialize nested values; the mask marks the rest, which would fail a whole load.

    `kept` demands of nested values too what a json column holds; a text column holds all of them.
    """
    if is_text(column.type):
        texts, possible = cast_bytes(column, pa.string()), are_json(column)
    else:
        valid = column.is_valid().to_pylist()
        written = json_texts(column)
        texts = pa.array([text if exists else None for text, exists in zip(written, valid, strict=True)], pa.string())
        possible = are_kept(texts) if kept else (True for _ in written)
        possible = [text != IMPOSSIBLE and fine for text, fine in zip(written, possible, strict=True)]
    fits = np.array(list(possible), np.bool_)
    return texts if fits.all() else pc.if_else(pa.array(fits), texts, pa.scalar(None, pa.string())), ~fits


def _to_text(column: pa.Array, group: str) -> tuple[pa.Array, Mask | None]:
    if group == "text":
        return cast_bytes(column, pa.string()), None
    if group == "time":
        return _time_texts(column)
    if group in ("integer", "uint64", "float", "bool"):
        return column.cast(pa.string()), None
    return pa.array(plain_texts(column), pa.string()), None


def _time_texts(column: pa.Array) -> tuple[pa.Array, Mask]:
    """Write times of day with all digits of their unit; the last is 24:00:00."""
    last = DAY * PER_SECOND[column.type.unit]
    numbers = _numbers(column)
    within = pa.array((numbers >= 0) & (numbers < last))
    texts = pc.if_else(within, column, pa.scalar(None, column.type)).cast(pa.string())
    digits = len(str(PER_SECOND[column.type.unit])) - 1
    midnight = "24:00:00" + ("." + "0" * digits if digits else "")
    return pc.if_else(pa.array(numbers == last), pa.scalar(midnight), texts), (numbers < 0) | (numbers > last)


def _cast_checked(column: pa.Array, target: pa.DataType) -> tuple[pa.Array, Mask | None]:
    """Cast the values that can be cast without loss; the mask marks the others."""
    lossless = _lossless(column, target)
    if lossless is None:
        return _cast_exact(column, target), None
    values = pc.if_else(lossless, column, pa.scalar(None, column.type))
    return _cast_exact(values, target), ~pc.or_(lossless, column.is_null()).to_numpy(zero_copy_only=False)


def _cast_exact(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Cast values all of which fit."""
    if pa.types.is_integer(values.type) and pa.types.is_decimal(target):
        values = values.cast(pa.string())  # Arrow casts integers only to decimals that hold the widest of their type
    if pa.types.is_date(values.type) and pa.types.is_timestamp(target):
        values = values.cast(pa.timestamp("us"))
    return values.cast(target, safe=not (pa.types.is_timestamp(target) or pa.types.is_floating(target)))


def _lossless(column: pa.Array, target: pa.DataType) -> pa.Array | None:
    """Return which values fit, None if all times do."""
    t = pa.types
    if t.is_integer(column.type) and t.is_floating(target):
        fine = _within(column, EXACT_INT)
    elif t.is_integer(column.type) and t.is_decimal(target):
        fine = _within(column, 10 ** (target.precision - target.scale) - 1)
    elif t.is_floating(column.type):
        low, high = EXACT_WHOLE[column.type.bit_width]
        column = column.cast(pa.float64())
        whole = pc.equal(pc.floor(column), column)
        fine = pc.and_(whole, pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high)))
    elif t.is_uint64(column.type) and t.is_integer(target):
        fine = _within(column, (1 << 63) - 1)
    elif t.is_timestamp(column.type) or t.is_date(column.type):
        return _exact_times(column, target)
    else:
        fine = _exact_decimals(column, target)
    return pc.fill_null(fine, False)


def _within(column: pa.Array, limit: int) -> pa.Array:
    """Compare integers with -limit and limit; Arrow can not compare a large uint64 with a signed number."""
    if pa.types.is_unsigned_integer(column.type):
        return pc.less_equal(column.cast(pa.uint64()), pa.scalar(min(limit, (1 << 64) - 1), pa.uint64()))
    low, high = pa.scalar(max(-limit, -1 << 63), pa.int64()), pa.scalar(min(limit, (1 << 63) - 1), pa.int64())
    wide = column.cast(pa.int64())
    return pc.and_(pc.greater_equal(wide, low), pc.less_equal(wide, high))


def _exact_times(column: pa.Array, target: pa.DataType) -> pa.Array | None:
    """Return which dates are whole days, and timestamps whole microseconds, of the years 1 to 9999; None if all are."""
    numbers, each = _numbers(column), _microseconds(column.type)
    fine = np.ones(len(numbers), np.bool_)
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # of the years 1677 to 2262
        fine = numbers % 1_000 == 0
    elif len(numbers) and (numbers.min() < FIRST_US // each or numbers.max() > LAST_US // each):
        fine = (numbers >= FIRST_US // each) & (numbers <= LAST_US // each)
    if pa.types.is_date64(column.type) and pa.types.is_date(target):
        fine &= numbers % (DAY * 1_000) == 0
    return None if fine.all() else pa.array(fine)


def _microseconds(kind: pa.DataType) -> int:
    """Return how many microseconds the unit of a date or timestamp has, 1 for nanoseconds."""
    if pa.types.is_date(kind):
        return DAY * 1_000_000 if pa.types.is_date32(kind) else 1_000
    return max(1_000_000 // PER_SECOND[kind.unit], 1)


def _numbers(column: pa.Array) -> npt.NDArray[np.int64]:
    """Return the integers behind dates, times and timestamps, 0 for NULL."""
    whole = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64())
    return np.asarray(pc.fill_null(whole, 0).to_numpy(zero_copy_only=False), np.int64)


def _exact_decimals(column: pa.Array, target: pa.DataType) -> pa.Array:
    try:
        column.cast(target)
    except pa.ArrowInvalid:
        return pa.array([_fits_decimal(value, target) for value in column], pa.bool_())
    return column.is_valid()


def _fits_decimal(value: pa.Scalar, target: pa.DataType) -> bool:
    try:
        value.cast(target)
    except pa.ArrowInvalid:
        return False
    return True


def extracted_at(table: pa.Table) -> pa.Array:
    """Return when Airbyte extracted each row."""
    name = EXTRACTED_AT if EXTRACTED_AT in table.column_names else EMITTED_AT
    return instants(table.column(name).combine_chunks())


def deleted_mask(table: pa.Table) -> Mask:
    """Return which rows say that their key was deleted: neither NULL, nor false, nor an empty text."""
    if DELETED_AT not in table.column_names:
        return np.zeros(table.num_rows, np.bool_)
    column = unwrap(table.column(DELETED_AT).combine_chunks())
    deleted = column.is_valid()
    if pa.types.is_boolean(column.type):
        deleted = pc.fill_null(column, False)
    elif is_text(column.type):
        deleted = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(column), ""), False)
    return np.asarray(deleted.to_numpy(zero_copy_only=False), np.bool_)


def instants(column: pa.Array) -> pa.Array:
    """Read one of Airbyte's own times: a timestamp, a date, an ISO text or milliseconds in a number.

    Nanoseconds are cut, a time beyond the years 1 to 9999 becomes the first or last instant of them, and what is no
    time becomes NULL: such a value never decides whether a row is merged.
    """
    column, t, each = unwrap(column), pa.types, 1_000
    if is_text(column.type):
        return pa.array([_instant(text) for text in column.to_pylist()], UTC_US)
    if t.is_floating(column.type) or t.is_uint64(column.type):
        numbers = np.nan_to_num(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        whole = _with_nulls(np.clip(numbers, FIRST_US // each, LAST_US // each), column)
    elif t.is_integer(column.type):
        whole = column.cast(pa.int64())
    elif t.is_timestamp(column.type) or t.is_date(column.type):
        each = _microseconds(column.type)
        whole = column.view(pa.int32() if t.is_date32(column.type) else pa.int64()).cast(pa.int64())
        if t.is_timestamp(column.type) and column.type.unit == "ns":
            whole = _with_nulls(_numbers(column) // 1_000, column)
    else:
        return pa.nulls(len(column), UTC_US)
    first, last, reach = FIRST_US // each, LAST_US // each, pc.min_max(whole).as_py()
    if reach["min"] is not None and (reach["min"] < first or reach["max"] > last):
        whole = _with_nulls(np.clip(pc.fill_null(whole, 0).to_numpy(zero_copy_only=False), first, last), column)
    return (whole if each == 1 else pc.multiply(whole, each)).view(UTC_US)


def _with_nulls(numbers: npt.NDArray[np.generic], column: pa.Array) -> pa.Array:
    return pa.array(numbers.astype(np.int64), mask=column.is_null().to_numpy(zero_copy_only=False))


def _instant(text: str | None) -> int | None:
    instant = None if text is None else read_instant(text)
    return None if instant is None else min(max(instant, FIRST_US), LAST_US)
