"""Evaluates Cloud Logging filters on captured lines, for the part of the language that our alerts use.

https://cloud.google.com/logging/docs/view/logging-query-language: comparisons joined by AND, OR and NOT, in brackets;
a field that a line lacks fulfils no comparison but `!=`.
"""

import operator
import re
from collections.abc import Callable
from typing import Any

from millrace.observability.lines import LABELS

TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\(|\)|>=|<=|!=|=~|!~|=|>|<|[\w.\-/]+)')
SEVERITIES = ["DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"]
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
Line = dict[str, Any]
Test = Callable[[Line], bool]


def compile_filter(text: str) -> Test:
    """Return a filter as a predicate of lines. Raises ValueError for an invalid one."""
    tokens, at = [], 0
    while at < len(text.rstrip()):
        match = TOKEN.match(text, at)
        if not match:
            raise ValueError(f"can't read {text[at:]!r}")
        tokens.append(match[1])
        at = match.end()
    test, rest = _or(tokens)
    if rest:
        raise ValueError(f"left over: {rest}")
    return test


def _or(tokens: list[str]) -> tuple[Test, list[str]]:
    first, tokens = _and(tokens)
    tests = [first]
    while tokens[:1] == ["OR"]:
        following, tokens = _and(tokens[1:])
        tests.append(following)
    return (lambda line: any(test(line) for test in tests)), tokens


def _and(tokens: list[str]) -> tuple[Test, list[str]]:
    first, tokens = _not(tokens)
    tests = [first]
    while tokens[:1] == ["AND"]:
        following, tokens = _not(tokens[1:])
        tests.append(following)
    return (lambda line: all(test(line) for test in tests)), tokens


def _not(tokens: list[str]) -> tuple[Test, list[str]]:
    if tokens[:1] == ["NOT"]:
        inner, tokens = _not(tokens[1:])
        return (lambda line: not inner(line)), tokens
    if tokens[:1] == ["("]:
        inner, tokens = _or(tokens[1:])
        return inner, _past(")", tokens)
    field, sign, *tokens = tokens
    if tokens[:1] != ["("]:
        return _compare(field, sign, tokens[0]), tokens[1:]
    end = tokens.index(")")
    tests = [_compare(field, sign, value) for value in tokens[1:end] if value != "OR"]
    return (lambda line: any(test(line) for test in tests)), tokens[end + 1 :]


def _past(token: str, tokens: list[str]) -> list[str]:
    if tokens[:1] != [token]:
        raise ValueError(f"expected {token!r} before {tokens}")
    return tokens[1:]


def _compare(field: str, sign: str, literal: str) -> Test:
    operand = literal[1:-1] if literal.startswith('"') else literal

    def test(line: Line) -> bool:
        value = _find(line, field)
        if value is None:
            return sign == "!="
        if sign == "=~":
            return re.search(operand, str(value)) is not None
        if field == "severity":
            return ORDER[sign](SEVERITIES.index(str(value)), SEVERITIES.index(operand))
        same_kind = _as(value, operand)
        return value != same_kind if sign == "!=" else ORDER[sign](value, same_kind)

    return test


def _as(value: object, operand: str) -> Any:
    """Return a literal as a value of the field's type."""
    if isinstance(value, bool):
        return operand == "true"
    return type(value)(operand) if isinstance(value, int | float) else operand


def _find(line: Line, field: str) -> Any:
    """A field of a log entry, as Cloud Logging makes the entry out of a line."""
    if field == "severity":
        return line.get("severity", "DEFAULT")
    place, _, name = field.partition(".")
    if place == "labels":
        return line.get(LABELS, {}).get(name)
    if place != "jsonPayload":
        raise ValueError(f"{field}: lines have no such field")
    return line.get(name)
