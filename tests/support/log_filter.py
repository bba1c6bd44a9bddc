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
    """A test of lines out of a filter. Raises ValueError when it is none."""
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
    one, tokens = _and(tokens)
    tests = [one]
    while tokens[:1] == ["OR"]:
        one, tokens = _and(tokens[1:])
        tests.append(one)
    return (lambda line: any(test(line) for test in tests)), tokens


def _and(tokens: list[str]) -> tuple[Test, list[str]]:
    one, tokens = _not(tokens)
    tests = [one]
    while tokens[:1] == ["AND"]:
        one, tokens = _not(tokens[1:])
        tests.append(one)
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
    wanted = literal[1:-1] if literal.startswith('"') else literal

    def test(line: Line) -> bool:
        found = _find(line, field)
        if found is None:
            return sign == "!="
        if sign == "=~":
            return re.search(wanted, str(found)) is not None
        if field == "severity":
            return ORDER[sign](SEVERITIES.index(str(found)), SEVERITIES.index(wanted))
        same_kind = _as(found, wanted)
        return found != same_kind if sign == "!=" else ORDER[sign](found, same_kind)

    return test


def _as(found: object, wanted: str) -> Any:
    """A literal as the field's kind has it."""
    if isinstance(found, bool):
        return wanted == "true"
    return type(found)(wanted) if isinstance(found, int | float) else wanted


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
