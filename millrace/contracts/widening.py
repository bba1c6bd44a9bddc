"""Two contract types in; the type that holds all values of both out."""

from millrace.domain.types import DECIMAL

INTEGER_DIGITS = 19
MOST_DIGITS = 38  # DuckDB's decimals; BigQuery's hold them too, so that both engines get the same columns
ABOVE = {"int64": ("float64",), "date": ("timestamp",)}


def common_type(first: str, second: str) -> str | None:
    """Return the type that holds all values of both, None without one; text and JSON hold only themselves."""
    if first == second:
        return first
    for low, high in ((first, second), (second, first)):
        if high in ABOVE.get(low, ()):
            return high
    digits = [_digits(first), _digits(second)]
    if None in digits:
        return None
    whole, scale = (max(d[i] for d in digits if d) for i in (0, 1))
    return f"decimal({whole + scale},{scale})" if whole + scale <= MOST_DIGITS else None


def _digits(kind: str) -> tuple[int, int] | None:
    """Return the numbers of digits before and after the point; None for another type."""
    match = DECIMAL.match(kind)
    if match:
        return int(match[1]) - int(match[2]), int(match[2])
    return (INTEGER_DIGITS, 0) if kind == "int64" else None
