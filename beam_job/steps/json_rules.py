"""JSON texts in; whether every engine keeps them as they are out.

DuckDB keeps the text. BigQuery parses it: a number becomes an integer of 64 bits (signed or not) or a double, an object
has each key once, and there are at most 500 levels (https://cloud.google.com/bigquery/docs/json-data#limitations). A
text that BigQuery would change or refuse is no value of a json column in either engine.
"""

import json
import math
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

MOST_LEVELS = 500
INTEGERS = range(-(1 << 63), 1 << 64)
INTEGER_CHARACTERS = 20  # of the longest one
DOUBLE_DIGITS = 17  # that tell all doubles apart
# A number without such a part has at most 15 digits and an exponent of two, which a double always gives back.
LONG_NUMBER = r"[0-9.]{16}|[0-9.][eE][+-]?[0-9]{3}"
BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def are_json(texts: pa.Array) -> Iterable[bool]:
    """Return for each text whether it is JSON that every engine keeps; NULL is."""
    long = pc.match_substring_regex(texts, LONG_NUMBER)
    pairs = zip(texts.to_pylist(), long.to_pylist(), strict=True)
    return [text is None or is_json(text, long=bool(is_long)) for text, is_long in pairs]


def are_kept(texts: pa.Array) -> Iterable[bool]:
    """Return for each text that is JSON whether every engine keeps its numbers; NULL is kept."""
    long = pc.match_substring_regex(texts, LONG_NUMBER)
    pairs = zip(texts.to_pylist(), long.to_pylist(), strict=True)
    return [not is_long or is_json(text) for text, is_long in pairs]


def is_json(text: str, *, long: bool = True) -> bool:
    """Return whether a text is JSON that every engine keeps; NaN and half a surrogate pair are not JSON.

    `long` says that it may have a long number.
    """
    if text.count("[") + text.count("{") > MOST_LEVELS and _levels(text) > MOST_LEVELS:
        return False
    try:
        return _is_read(text, long)
    except RecursionError:  # the caller's stack is deep; that of a new thread has room for all levels
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(_is_read, text, long).result()


def is_exact(number: str) -> bool:
    """Return whether an integer of 64 bits or a double gives a JSON number back, written with as many digits.

    Many writers print doubles with 17 digits: 0.10000000000000001 is the double 0.1.
    """
    if len(number) <= INTEGER_CHARACTERS and number.removeprefix("-").isdigit() and int(number) in INTEGERS:
        return True
    double = float(number)
    if repr(double) == number:
        return True
    try:
        value = Decimal(number)
    except ArithmeticError:
        return False  # an exponent beyond that of decimals
    digits = min(len(value.as_tuple().digits), DOUBLE_DIGITS)
    return math.isfinite(double) and value in (Decimal(repr(double)), Decimal(f"{double:.{digits}g}"))


def _is_read(text: str, long: bool) -> bool:
    try:
        parsed = (EXACT_READER if long else READER).decode(text)
        if "\\ud" in text.lower():
            json.dumps(parsed, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def _levels(text: str) -> int:
    """Return how deep the objects and arrays of a text that is JSON are."""
    depth = most = 0
    for bracket in BRACKETS.findall(text):
        if bracket in "[{":
            depth += 1
            most = max(most, depth)
        elif bracket in "]}":
            depth -= 1
    return most


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _exact(number: str) -> str:
    if not is_exact(number):
        raise ValueError(f"{number} is neither an integer of 64 bits nor a double")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("an object has a key twice")
    return values


READER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_object)
EXACT_READER = json.JSONDecoder(
    parse_constant=_no_constant, object_pairs_hook=_object, parse_int=_exact, parse_float=_exact
)
