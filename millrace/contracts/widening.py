"""Which contract types hold all values of two others."""

from millrace.domain.types import DECIMAL

INTEGER_DIGITS = 19
MOST_DIGITS = 38
ABOVE = {"int64": ("float64",), "date": ("timestamp",)}


def wider(one: str, other: str) -> str | None:
    """The type that values of both fit, None when there is none; text and JSON hold nothing but themselves."""
    if one == other:
        return one
    for low, high in ((one, other), (other, one)):
        if high in ABOVE.get(low, ()):
            return high
    digits = [_digits(one), _digits(other)]
    if None in digits:
        return None
    whole, scale = (max(d[i] for d in digits if d) for i in (0, 1))
    return f"decimal({whole + scale},{scale})" if whole + scale <= MOST_DIGITS else None


def _digits(kind: str) -> tuple[int, int] | None:
    """Digits before and after the point."""
    match = DECIMAL.match(kind)
    if match:
        return int(match[1]) - int(match[2]), int(match[2])
    return (INTEGER_DIGITS, 0) if kind == "int64" else None
