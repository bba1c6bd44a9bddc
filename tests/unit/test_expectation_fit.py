"""Expectations are compared with the types of their columns before anything runs."""

from typing import Any

import pytest

from millrace.domain.quality import Expected
from millrace.project import current_project
from millrace.quality.fit import class_of, misfits
from millrace.quality.root_error import root_error
from tasks.model.mart_columns import check_expectations, typed_marts

COLUMNS = {"amount": "decimal(18,4)", "name": "string", "day": "date", "paid": "bool", "raw": "json", "new": ""}


def wrong(kind: str, **args: Any) -> str:
    return "; ".join(misfits([Expected(type=kind, args=args)], COLUMNS))


@pytest.mark.parametrize(
    ("kind", "args", "why"),
    [
        ("between", {"column": "name", "min_value": 0}, "name is string, which can't be compared with 0"),
        ("between", {"column": "paid", "max_value": 1}, "paid is bool, and this tests number or date or text only"),
        ("in_set", {"column": "amount", "value_set": [1, "2"]}, "amount is decimal(18,4), which can't be"),
        ("be_unique", {"column": "nmae"}, "there is no column 'nmae'; did you mean 'name'?"),
        ("match_regex", {"column": "day", "regex": "x"}, "day is date, and this tests text only"),
    ],
)
def test_what_can_never_be_checked_is_named(kind: str, args: dict[str, Any], why: str) -> None:
    verb = "" if kind in ("be_unique", "match_regex") else "be_"
    assert why in wrong(f"expect_column_values_to_{verb}{kind}", **args)


def test_pair_of_different_kinds_is_named() -> None:
    pair = {"column_A": "day", "column_B": "amount"}
    assert "it compares day (date) with amount (decimal(18,4))" in wrong(
        "expect_column_pair_values_a_to_be_greater_than_b", **pair
    )
    assert "did you mean expect_column_values_to_be_unique?" in wrong("expect_column_value_to_be_unique", column="name")


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("expect_column_values_to_be_between", {"column": "amount", "min_value": 0.5}),
        ("expect_column_values_to_be_between", {"column": "day", "min_value": "2013-01-01"}),
        ("expect_column_values_to_be_in_set", {"column": "name", "value_set": ["a"]}),
        ("expect_column_values_to_be_in_set", {"column": "new", "value_set": [1]}),
        ("expect_column_value_lengths_to_be_between", {"column": "name", "min_value": 1}),
        ("expect_column_values_to_not_be_null", {"column": "raw"}),
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
    ],
)
def test_what_fits_is_not_named(kind: str, args: dict[str, Any]) -> None:
    assert wrong(kind, **args) == ""


def test_types_of_both_engines_have_a_class() -> None:
    types = ("DOUBLE", "NUMERIC(38,9)", "VARCHAR", "TIMESTAMP WITH TIME ZONE", "INT64", "BOOLEAN", "INTEGER[]", "JSON")
    assert [class_of(name) for name in types] == [
        "number",
        "number",
        "text",
        "date",
        "number",
        "bool",
        "other",
        "other",
    ]


@pytest.mark.demo
def test_own_expectations_fit_their_marts() -> None:
    project = current_project()
    assert typed_marts(project.dbt_project)["fct_flights"]["dep_delay"]
    check_expectations(project)


@pytest.mark.parametrize(
    ("message", "root"),
    [
        (
            "(duckdb.duckdb.BinderException) Binder Error: no such\nLINE 1: SELECT\n   ^\n[SQL: SELECT 1]",
            "Binder Error: no such",
        ),
        ("x TransactionException: Current transaction is aborted; (d.E) Binder Error: a", "Binder Error: a"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_root_error_has_neither_sql_nor_followers(message: str, root: str) -> None:
    assert root_error(message) == root
