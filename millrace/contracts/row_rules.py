"""Expectations on single rows in; SQL that both engines accept, to leave violating rows out of the marts, out."""

import re
from collections.abc import Callable
from typing import Any

from millrace.domain.quality import Expected

COLUMN = "{column}"  # a placeholder for the column's name, quoted by the warehouse
AWKWARD = re.compile(r"['\\{}%\x00-\x1f]")  # characters that DuckDB, BigQuery and Jinja escape differently


def row_rule(expected: Expected) -> str | None:
    """Return SQL that is true for a row that meets an expectation, with {column} for its column; None without a rule.

    Raises:
        ValueError: the arguments can't be expressed in SQL.
    """
    rule = RULES.get(expected.type)
    if rule is None:
        return None
    make, arguments = rule
    if unknown := sorted(set(expected.args) - {"column", *arguments}):
        raise ValueError(
            f"{expected.type} can't quarantine rows with {', '.join(unknown)}; it may have {', '.join(arguments)}"
        )
    return make(expected.args)


def _not_null(_: dict[str, Any]) -> str:
    return f"{COLUMN} is not null"


def _between(args: dict[str, Any]) -> str:
    bounds = [
        f"{COLUMN} {sign} {_literal(args[name])}"
        for name, sign in (("min_value", ">="), ("max_value", "<="))
        if args.get(name) is not None
    ]
    if not bounds:
        raise ValueError("give min_value, max_value or both")
    return f"({COLUMN} is null or ({' and '.join(bounds)}))"


def _in_set(args: dict[str, Any]) -> str:
    return f"({COLUMN} is null or {COLUMN} in ({_literals(args)}))"


def _not_in_set(args: dict[str, Any]) -> str:
    return f"({COLUMN} is null or {COLUMN} not in ({_literals(args)}))"


def _literals(args: dict[str, Any]) -> str:
    values = args.get("value_set")
    if not isinstance(values, list) or not values:
        raise ValueError("give value_set, a list")
    return ", ".join(_literal(value) for value in values)


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if not isinstance(value, str) or AWKWARD.search(value):
        raise ValueError(f"{value!r} can't be written in every warehouse's SQL")
    return f"'{value}'"


RULES: dict[str, tuple[Callable[[dict[str, Any]], str], tuple[str, ...]]] = {
    "expect_column_values_to_not_be_null": (_not_null, ()),
    "expect_column_values_to_be_between": (_between, ("min_value", "max_value")),
    "expect_column_values_to_be_in_set": (_in_set, ("value_set",)),
    "expect_column_values_to_not_be_in_set": (_not_in_set, ("value_set",)),
}
