"""`dbt source freshness` with the limits of the contracts: it separates fresh from stale rows on both engines."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.model.source_freshness import source_freshness
from tests.integration.test_model_engines import BigQueryModelling, literal
from tests.support.engines import ENGINES
from tests.support.modelling import Modelling, flight

pytestmark = pytest.mark.demo

ALLOWED_S = 36 * 3600


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Modelling | BigQueryModelling]:
    if request.param == "duckdb":
        yield Modelling(tmp_path)
        return
    bigquery = request.getfixturevalue("bigquery")
    with bigquery.prefix() as prefix:
        yield BigQueryModelling(tmp_path, bigquery.warehouse(prefix))


def extract(place: Modelling | BigQueryModelling, stream: str, at: datetime) -> None:
    """Set the extraction time of a stream's rows."""
    change: Callable[[str, str], str] = "UPDATE {} SET _extracted_at = {} WHERE TRUE".format
    if isinstance(place, BigQueryModelling):
        place.query(change(place.warehouse._jobs.namespace.table("raw_airport_ops", stream), literal(at)))
        return
    with place.writing() as db:
        db.execute(change(f"raw_airport_ops.{stream}", f"TIMESTAMPTZ '{at.isoformat()}'"))


def test_stale_rows_are_reported(place: Modelling | BigQueryModelling) -> None:
    place.merge("flights", flight(1), flight(2))
    place.merge("weather", {"origin": "JFK", "time_hour": flight(1)["scheduled_departure"], "precip": 1.0})
    now = datetime.now(UTC)
    extract(place, "flights", now - timedelta(hours=1))
    extract(place, "weather", now - timedelta(hours=40))
    ages = {age.stream: age for age in source_freshness(place.warehouse)}
    assert {name: (age.kept, age.limit_s) for name, age in ages.items()} == {
        "airport_ops.flights": (True, ALLOWED_S),
        "airport_ops.weather": (False, ALLOWED_S),
    }
    assert 3600 <= ages["airport_ops.flights"].age_s < 3600 + 300
