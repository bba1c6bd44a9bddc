"""BigQuery's limits of partitions are kept before a commit, and explained where BigQuery refuses one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from millrace.domain.errors import BudgetExceeded
from millrace.warehouse.bigquery.partitions import MOST_OF_A_TABLE, check, explain, partition_id
from millrace.warehouse.bigquery.sql import Namespace
from tests.support.merging import contract

COLUMNS = {"id": {"type": "int64", "nullable": False}, "day": {"type": "date", "nullable": False}}
BY_DAY = contract(columns=COLUMNS, key=["id", "day"], partition={"column": "day"})
BY_YEAR = contract(columns=COLUMNS, key=["id", "day"], partition={"column": "day", "by": "year"})
BUCKETS = contract(partition={"hash_buckets": 4000})
FIRST = date(2000, 1, 1).toordinal()
DAYS = [date.fromordinal(FIRST + number) for number in range(MOST_OF_A_TABLE + 1)]


class Table:
    """A warehouse whose table has partitions; `asked` counts the queries for them."""

    def __init__(self, days: list[date], counted: int | None = None) -> None:
        self.namespace = Namespace("p", "EU")
        self.retry, self.asked = None, 0
        self._days = days
        described = {} if counted is None else {"numPartitions": str(counted)}
        table = SimpleNamespace(to_api_repr=lambda: described)
        self.client = SimpleNamespace(get_table=lambda *_, **__: table)

    def rows(self, sql: str, values: dict[str, Any], **_: Any) -> list[tuple[str]]:
        assert "`p.raw_shop.INFORMATION_SCHEMA.PARTITIONS`" in sql
        assert values == {"table": "orders"}
        self.asked += 1
        return [(f"{day:%Y%m%d}",) for day in self._days]

    @contextmanager
    def translate_errors(self, _action: str) -> Iterator[None]:
        yield


def test_job_of_too_many_partitions_is_rejected() -> None:
    for declared in (BY_DAY, BY_YEAR):
        with pytest.raises(BudgetExceeded, match=r"touches more than 4000 partitions .* partition by month or year in"):
            check(Table([]), declared, "b", DAYS[:4001])  # type: ignore[arg-type]
    with pytest.raises(BudgetExceeded, match=r"declare fewer hash_buckets in sources/shop\.yaml"):
        check(Table([]), BUCKETS, "b", list(range(4001)))  # type: ignore[arg-type]


def test_table_of_too_many_partitions_is_rejected() -> None:
    full = Table(DAYS[:MOST_OF_A_TABLE], MOST_OF_A_TABLE)
    check(full, BY_DAY, "b", DAYS[:4000])  # type: ignore[arg-type]
    with pytest.raises(BudgetExceeded, match=r"b would give the table of shop\.orders 10,001 partitions, .* month or"):
        check(full, BY_DAY, "b", DAYS[-2:])  # type: ignore[arg-type]
    assert full.asked == 2


@pytest.mark.parametrize(("counted", "asked"), [(0, 0), (4999, 0), (5000, 1), (None, 1)])
def test_partitions_are_listed_only_near_the_limit(counted: int | None, asked: int) -> None:
    table = Table([], counted)
    check(table, BY_DAY, "b", DAYS[:1])  # type: ignore[arg-type]
    assert table.asked == asked


def test_years_and_buckets_never_reach_the_limit() -> None:
    table = Table(DAYS[:MOST_OF_A_TABLE])
    check(table, BY_YEAR, "b", DAYS[-1:])  # type: ignore[arg-type]
    check(table, BUCKETS, "b", [3999])  # type: ignore[arg-type]
    assert table.asked == 0
    with pytest.raises(ValueError, match="4000"):
        contract(partition={"hash_buckets": 4001})


@pytest.mark.parametrize(
    ("start", "by", "named"),
    [
        (date(2026, 1, 31), "day", "20260131"),
        (datetime(2026, 1, 1, tzinfo=UTC), "month", "202601"),
        (date(1, 1, 1), "year", "0001"),
        (None, "day", "__NULL__"),
    ],
)
def test_partitions_are_named_as_bigquery_names_them(start: date | None, by: str, named: str) -> None:
    assert partition_id(start, by) == named


@pytest.mark.parametrize(
    "message",
    [
        "Too many partitions produced by query, allowed 4000, query produces at least 4001 partitions",
        "Too many total (existing + new) partitions: 10001. Max allowed partitions: 10000",
    ],
)
def test_refused_partitions_are_explained(message: str) -> None:
    with pytest.raises(BudgetExceeded, match=r"partition by month or year in sources/shop\.yaml"):
        explain(BY_DAY, "b", f"BigQuery rejected commit: {message}")
    explain(BY_DAY, "b", "BigQuery rejected commit: Syntax error")
