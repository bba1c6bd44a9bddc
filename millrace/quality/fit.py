"""Expectations and the columns of their table in; what can never be evaluated, in sentences, out. Reads no data."""

import difflib
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from millrace.domain.quality import Expected

NUMBER, TEXT, DATE, BOOL, OTHER = "number", "text", "date", "bool", "other"
CLASSES = (  # how the types of contracts, of DuckDB and of BigQuery begin
    (NUMBER, ("int", "bigint", "smallint", "tinyint", "hugeint", "uint", "float", "double", "decimal", "numeric")),
    (NUMBER, ("real", "bignumeric", "bigdecimal", "ubigint", "uinteger", "byteint")),
    (TEXT, ("string", "varchar", "text", "char", "bpchar")),
    (DATE, ("date", "timestamp", "datetime")),
    (BOOL, ("bool",)),
)
ORDERED = (NUMBER, DATE, TEXT)
RULES: dict[str, tuple[str, ...]] = {  # the classes of columns that a kind can test; all kinds that are not here: any
    **dict.fromkeys(
        (
            "expect_column_mean_to_be_between",
            "expect_column_median_to_be_between",
            "expect_column_quantile_values_to_be_between",
            "expect_column_stdev_to_be_between",
            "expect_column_sum_to_be_between",
            "expect_column_value_z_scores_to_be_less_than",
            "expect_multicolumn_sum_to_equal",
        ),
        (NUMBER,),
    ),
    **dict.fromkeys(
        (
            "expect_column_value_lengths_to_be_between",
            "expect_column_value_lengths_to_equal",
            "expect_column_values_to_match_like_pattern",
            "expect_column_values_to_match_like_pattern_list",
            "expect_column_values_to_match_regex",
            "expect_column_values_to_match_regex_list",
            "expect_column_values_to_not_match_like_pattern",
            "expect_column_values_to_not_match_like_pattern_list",
            "expect_column_values_to_not_match_regex",
            "expect_column_values_to_not_match_regex_list",
        ),
        (TEXT,),
    ),
    **dict.fromkeys(
        (
            "expect_column_max_to_be_between",
            "expect_column_min_to_be_between",
            "expect_column_values_to_be_between",
            "expect_column_pair_values_a_to_be_greater_than_b",
        ),
        ORDERED,
    ),
}
VALUES = ("min_value", "max_value", "value_set")  # arguments that are compared with the column's values
COUNTS = (
    "expect_column_value_lengths_",
    "expect_column_unique_value_count",
    "expect_column_proportion",
    "expect_table",
)
PAIRS = ("expect_column_pair_values_a_to_be_greater_than_b", "expect_column_pair_values_to_be_equal")


def misfits(expectations: Iterable[Expected], columns: Mapping[str, str]) -> list[str]:
    """Return a sentence for every expectation that can't be evaluated on columns of these types ('' is unknown)."""
    return [
        f"{' of '.join(filter(None, [expected.type, ', '.join(expected.columns)]))}: {why}"
        for expected in expectations
        for why in _misfit(expected, columns)
    ]


def _misfit(expected: Expected, columns: Mapping[str, str]) -> Iterable[str]:
    if expected.type not in known_kinds():
        near = difflib.get_close_matches(expected.type, known_kinds(), n=1)
        yield "Great Expectations has no such expectation" + (f"; did you mean {near[0]}?" if near else "")
        return
    for name in expected.columns:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(columns)}"
            yield f"there is no column {name!r}{hint}"
    types = {name: columns[name] for name in expected.columns if columns.get(name)}
    for name, data_type in types.items():
        yield from _of_column(expected, name, data_type)
    classes = {class_of(data_type) for data_type in types.values()}
    if expected.type in PAIRS and len(classes - {OTHER}) > 1:
        compared = " with ".join(f"{name} ({data_type})" for name, data_type in types.items())
        yield f"it compares {compared}"


def _of_column(expected: Expected, name: str, data_type: str) -> Iterable[str]:
    kind, allowed = class_of(data_type), RULES.get(expected.type)
    if kind != OTHER and allowed and kind not in allowed:
        yield f"{name} is {data_type}, and this tests {' or '.join(allowed)} only"
    elif not expected.type.startswith(COUNTS):
        for value in _values(expected.args):
            if not _comparable(value, kind):
                yield f"{name} is {data_type}, which can't be compared with {value!r}"
                return


def _values(args: Mapping[str, Any]) -> Iterable[Any]:
    for argument in VALUES:
        value = args.get(argument)
        yield from value if isinstance(value, list | tuple) else [value]


def _comparable(value: Any, kind: str) -> bool:
    if value is None or kind == OTHER:
        return True
    if isinstance(value, bool):
        return kind == BOOL
    if isinstance(value, int | float):
        return kind == NUMBER
    if isinstance(value, date):
        return kind == DATE
    return kind in (TEXT, DATE)


def class_of(data_type: str) -> str:
    """Return the class of a type of a contract, of DuckDB or of BigQuery."""
    name = data_type.strip().lower()
    if name.endswith("]") or name.startswith("interval"):
        return OTHER
    return next((kind for kind, begins in CLASSES if name.startswith(begins)), OTHER)


@cache
def known_kinds() -> frozenset[str]:
    """Return the kinds of Great Expectations, by its files: to import it takes many seconds."""
    package = find_spec("great_expectations")
    folders = package.submodule_search_locations if package else None
    files = Path(next(iter(folders or ["."])), "expectations", "core").glob("expect_*.py")
    return frozenset(path.stem for path in files)
