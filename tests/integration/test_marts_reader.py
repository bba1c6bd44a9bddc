"""The queries of the dashboards return the same rows on BigQuery as on DuckDB."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from local.demo.airport_ops.expected import Row, expected_marts
from millrace.domain.errors import WarehouseRefused
from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.bigquery.sql import Namespace
from millrace.warehouse.engines import open_marts
from millrace.warehouse.reader import Read
from tests.support.bigquery import BigQuery
from tests.unit.test_dashboards import BOARDS, published

pytestmark = [pytest.mark.demo, pytest.mark.bigquery]
FLIGHTS = 60
LOOKED_AT = (
    "fct_flights",
    "airline_punctuality_monthly",
    "route_delays",
    "weather_delays",
    "dim_airline",
    "dim_airport",
)


def literal(value: Any, kind: type) -> str:
    """Return a value as a BigQuery literal."""
    names = {int: "INT64", float: "FLOAT64", str: "STRING", bool: "BOOL", date: "DATE", datetime: "TIMESTAMP"}
    if value is None:
        return f"CAST(NULL AS {names[kind]})"
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S}+00'"
    if isinstance(value, date):
        return f"DATE '{value}'"
    return repr(float(value)) if kind is float else f"{value!r}"


def select(rows: list[Row]) -> str:
    """Return rows as one query."""
    kinds = {name: next((type(r[name]) for r in rows if r[name] is not None), str) for name in rows[0]}
    selects = ("SELECT " + ", ".join(f"{literal(r[name], k)} AS {name}" for name, k in kinds.items()) for r in rows)
    return " UNION ALL ".join(selects)


@pytest.fixture(scope="module")
def marts() -> dict[str, list[Row]]:
    """Return a few rows of each mart."""
    tables = expected_marts(1)
    few = sorted(tables["fct_flights"], key=lambda f: f["flight_key"])[:FLIGHTS]
    airport_codes = {flight["dest"] for flight in few} | {flight["origin"] for flight in few}
    airports = [a for a in tables["dim_airport"] if a["faa"] in airport_codes or not a["is_known"]]
    return tables | {"fct_flights": few, "dim_airport": airports, "route_delays": tables["route_delays"][:FLIGHTS]}


@pytest.fixture(scope="module")
def read(bigquery: BigQuery, marts: dict[str, list[Row]]) -> Iterator[Read]:
    """Return a reader of those rows on BigQuery."""
    with bigquery.prefix() as prefix:
        url = f"bigquery://{bigquery.project}/{bigquery.location}/{prefix}"
        client, dataset = bigquery.client(), Namespace.of(url).dataset("marts")
        client.create_dataset(f"{bigquery.project}.{dataset}")
        for name in LOOKED_AT:
            query = f"CREATE TABLE `{bigquery.project}`.`{dataset}`.`{name}` AS {select(marts[name])}"
            client.query(query).result()
        marts_url = f"bigquery://{bigquery.project}/marts"
        yield open_marts(WarehouseSettings(url=url, marts_url=marts_url, endpoint=bigquery.endpoint))


def comparable(rows: list[Row]) -> list[Row]:
    """Return rows with instants as seconds, which differ in their zone, and figures without their last digits."""

    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.timestamp()
        return round(value, 9) if isinstance(value, float) else value

    return [{name: plain(value) for name, value in row.items()} for row in rows]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_query_gives_the_same_rows_on_both(read: Read, marts: dict[str, list[Row]], tmp_path: Path, board: Any) -> None:
    expected = published(tmp_path / "published.duckdb", marts)(board.sql).to_pylist()
    rows = read(board.sql).to_pylist()
    assert comparable(rows) == comparable(expected)
    assert expected


def test_failing_query_is_named(read: Read) -> None:
    with pytest.raises(WarehouseRefused):
        read("select nothing from marts.nowhere")
