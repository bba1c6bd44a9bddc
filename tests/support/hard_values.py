"""Values that keys and cursors get wrong first, by contract type: ends of ranges, empty, NUL, twins, NaN."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

MOST_TEXT = "x" * 300
HARD: dict[str, list[Any]] = {
    "int64": [-(1 << 63), -1, 0, 1, (1 << 63) - 1],
    "decimal(38,0)": [Decimal(-(10**38) + 1), Decimal(-1), Decimal(0), Decimal(10**38 - 1)],
    "decimal(5,5)": [Decimal("-0.99999"), Decimal("-0.00001"), Decimal("0.00000"), Decimal("0.99999")],
    "date": [date.min, date(1969, 12, 31), date(1970, 1, 1), date.max],
    "timestamp": [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
    "bool": [False, True],
    "bytes": [b"", b"\x00", b"\x00\xff", b"\xff", b"a"],
    "string": ["", "\x00", "a", "a\x00", "a ", "A", "\u00e9", "e\u0301", MOST_TEXT, MOST_TEXT + "y"],
    "float64": [-math.inf, -1.5, -5e-324, -0.0, 0.0, 5e-324, 2.0**53, math.inf, math.nan],
}
KEY_TYPES = tuple(kind for kind in HARD if kind != "float64")


def some_of(kind: str, most: int = 3) -> st.SearchStrategy[list[Any]]:
    """Generate a few values of a contract type, so that rows meet."""
    return st.lists(st.sampled_from(HARD[kind]), min_size=2, max_size=most)
