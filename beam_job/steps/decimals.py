"""Texts, floats and decimals in, decimals of the same value out; a value without one is reported or rounded."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]
# So many digits of a decimal survive as a float of 16, 32 and 64 bits, and whole numbers below the limit do.
FLOAT_DIGITS = {16: 3, 32: 6, 64: 15}
WHOLE = {16: 1 << 11, 32: 1 << 24, 64: 1 << 53}
MOST_DIGITS = 100  # of a value on its way: a decimal has up to 76
EXACT = Context(prec=MOST_DIGITS)


def to_decimals(column: pa.Array, target: pa.DataType, *, rounded: bool) -> tuple[pa.Array, Mask | None]:
    """Convert a column by the value that is written; the mask marks values without a decimal, which become NULL.

    A float is worth the shortest text that is read as it. Unless `rounded` (half to even), it needs a text of so few
    digits that no other decimal can have been meant: 0.1 is exact, 12345678906488.168 may have been any of several.
    """
    floats = pa.types.is_floating(column.type)
    texts = column.cast(pa.string())
    if not (floats and not rounded) or _all_short(column):
        try:
            return _checked(texts.cast(target), target), None
        except pa.ArrowInvalid:  # one value at least is not exact, or no number
            pass
    width = column.type.bit_width if floats else 0
    values = [_decimal(text, target, width, rounded) for text in texts.to_pylist()]
    converted = pa.array(values, target)
    lost = (pc.is_null(converted).to_numpy(zero_copy_only=False)) & ~column.is_null().to_numpy(zero_copy_only=False)
    return converted, lost if lost.any() else None


def _all_short(column: pa.Array) -> bool:
    """Return true when each float is the one of its first digits, or exactly a whole number."""
    bits = column.type.bit_width
    return all(
        _as_short(number, bits) == number or (number.is_integer() and abs(number) < WHOLE[bits])
        for number in column.cast(pa.float64()).drop_null().to_pylist()
    )


def _as_short(number: float, bits: int) -> float:
    """Return the number of the first digits of a float; of 32 bits the nearest such one."""
    short = float(f"{number:.{FLOAT_DIGITS[bits]}g}")
    return float(np.float32(short)) if bits == 32 else float(np.float16(short)) if bits == 16 else short


def _checked(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Return decimals, all of which have no more digits than their type."""
    values.validate(full=True)  # Arrow does not look at the digits of what it casts
    return values


def _decimal(text: str | None, target: pa.DataType, float_bits: int, rounded: bool) -> Decimal | None:
    try:
        value = Decimal(text) if text is not None and "_" not in text else None
    except InvalidOperation:
        return None
    if value is None or not value.is_finite():
        return None
    if float_bits and not rounded and not _certain(value, float_bits):
        return None
    try:
        fitted = value.quantize(Decimal(1).scaleb(-target.scale), ROUND_HALF_EVEN, EXACT)
    except InvalidOperation:  # more than MOST_DIGITS
        return None
    digits = max(fitted.adjusted() + 1, 0) + target.scale if fitted else 0
    if digits > target.precision or (fitted != value and not rounded):
        return None
    return fitted


def _certain(value: Decimal, float_bits: int) -> bool:
    """Return true for a float that only one decimal of few digits gives, and for an exact whole number."""
    digits: Sequence[int] = value.normalize(EXACT).as_tuple().digits
    return len(digits) <= FLOAT_DIGITS[float_bits] or (
        value == value.to_integral_value() and abs(value) < WHOLE[float_bits]
    )
