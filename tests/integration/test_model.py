"""Model runs with the real dbt and Great Expectations: the marts that are built, and those that readers see."""

from datetime import date

import duckdb
import pytest

from bench.model_run import ModelRun
from millrace.domain.errors import QualityFailed
from tests.support.modelling import AIRLINES, AIRPORTS, Modelling, Poller, flight

pytestmark = pytest.mark.demo

DIMENSIONS = {"dim_airline", "dim_airport", "dim_plane"}
FLIGHTS = {"fct_flights", "airline_punctuality_daily", "airline_punctuality_monthly", "route_delays", "weather_delays"}
BY_DAY = "SELECT flight_date, count(*), max(distance) FROM marts.fct_flights GROUP BY 1 ORDER BY 1"
EVERYWHERE = """SELECT
  (SELECT count(*) FROM marts.fct_flights), (SELECT sum(scheduled) FROM marts.airline_punctuality_daily),
  (SELECT sum(scheduled) FROM marts.airline_punctuality_monthly), (SELECT sum(flights) FROM marts.route_delays),
  (SELECT sum(flights) FROM marts.weather_delays), (SELECT max(name) FROM marts.dim_airline WHERE carrier = 'UA')"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Modelling:
    """Return a warehouse whose marts have flights of two days."""
    place = Modelling(tmp_path_factory.mktemp("model"))
    place.merge("airlines", *AIRLINES)
    place.merge("airports", *AIRPORTS)
    place.merge("planes", {"tailnum": "N1", "year": 2000})
    place.merge("flights", flight(1), flight(2), flight(2, 2))
    first = place.run()
    assert first is not None
    assert set(first.marts) == DIMENSIONS | FLIGHTS
    return place


def test_nothing_merged_means_nothing_built(place: Modelling) -> None:
    before = place.marts_file.stat().st_ino
    assert place.run() is None
    assert place.marts_file.stat().st_ino == before


def test_merge_without_effect_skips_dbt(place: Modelling) -> None:
    place.merge("flights", counted=False)
    run = place.run()
    assert run is not None
    assert run.marts == ()
    assert place.run() is None


def test_only_affected_marts_are_built(place: Modelling) -> None:
    with place.writing() as db:
        db.execute("UPDATE raw_airport_ops.airlines SET name = 'nobody merged this'")
    place.merge("weather", {"origin": "JFK", "time_hour": flight(1)["scheduled_departure"], "precip": 1.0})
    run = place.run()
    assert run is not None
    assert run.marts == ("weather_delays",)
    assert ("JFK", "precipitation", 1) in place.marts("SELECT origin, weather, flights FROM marts.weather_delays")
    assert place.marts("SELECT name FROM marts.dim_airline WHERE carrier = 'UA'") == [("United",)]


@pytest.fixture(scope="module")
def days(place: Modelling) -> tuple[ModelRun | None, ModelRun | None]:
    """Make two runs: days 2 to 5 arrive; then day 4 is deleted, and a flight of day 5 is corrected."""
    place.run()
    with place.writing() as db:
        db.execute("UPDATE raw_airport_ops.flights SET distance = 999")  # a change outside of any batch
    lost = flight(5, 2, status="lost")
    place.merge("flights", flight(2, distance=800), flight(3, distance=900), flight(4), flight(5, tailnum="N7"), lost)
    first = place.run()
    place.seen = place.marts(BY_DAY)
    place.merge("flights", flight(5, 2), deletes=(flight(4),))
    return first, place.run()


def test_only_days_with_changes_are_rebuilt(place: Modelling, days: tuple[ModelRun, ModelRun]) -> None:
    assert set(days[0].marts) == set(days[1].marts) == FLIGHTS
    assert place.seen[:3] == [(date(2013, 1, 1), 1, 700), (date(2013, 1, 2), 2, 999), (date(2013, 1, 3), 1, 900)]
    assert place.marts(BY_DAY)[:3] == place.seen[:3]


def test_rule_breaking_rows_stay_out_until_fixed(place: Modelling, days: tuple[ModelRun, ModelRun]) -> None:
    (result,) = days[0].merged_rows.failed("quarantine")
    assert (result.suite, result.column, result.observed, result.sample) == (
        "airport_ops.flights",
        "status",
        "1 of 5 rows",
        ("lost",),
    )
    assert [row for row in place.seen if row[0] == date(2013, 1, 5)] == [(date(2013, 1, 5), 1, 700)]
    assert days[1].merged_rows.passed
    assert [row for row in place.marts(BY_DAY) if row[0] == date(2013, 1, 5)] == [(date(2013, 1, 5), 2, 700)]


def test_day_whose_flights_are_all_gone_is_gone(place: Modelling, days: tuple[ModelRun, ModelRun]) -> None:
    assert date(2013, 1, 4) in [row[0] for row in place.seen]
    assert date(2013, 1, 4) not in [row[0] for row in place.marts(BY_DAY)]
    cancelled = "SELECT scheduled, cancelled FROM marts.airline_punctuality_daily WHERE flight_date = '2013-01-04'"
    assert place.marts(cancelled) == [(1, 1)]


@pytest.mark.slow
def test_new_plane_reaches_flights_of_all_days(place: Modelling, days: tuple[ModelRun, ModelRun]) -> None:
    plane_keys = "SELECT plane_key FROM marts.fct_flights WHERE tailnum = 'N7'"
    assert place.marts(plane_keys) == [("unknown",)]
    place.merge("planes", {"tailnum": "N7", "year": 2001})
    place.merge("flights", flight(3, 8))
    place.run()
    assert place.marts(plane_keys) == [("N7",)]


@pytest.mark.slow
def test_readers_see_only_whole_marts(place: Modelling) -> None:
    """Read during a build that fails the gate, and during one that passes."""
    (before,) = place.marts(EVERYWHERE)
    poller = Poller(place.marts_file, EVERYWHERE)
    poller.start()
    refused = place.merge("flights", flight(6), flight(6, 2, origin="XXX"))
    with pytest.raises(QualityFailed, match=r"fct_flights.origin: expect_column_values_to_be_in_set, saw 1 of .* XXX"):
        place.run()
    place.merge("airlines", {"carrier": "UA", "name": "United Airlines"})
    place.merge("flights", deletes=(flight(6, 2, origin="XXX"),))
    run = place.run()
    assert run is not None
    assert refused in run.work.batches  # it was not forgotten
    (after,) = place.marts(EVERYWHERE)
    looks = poller.looks
    assert poller.end() == [[before], [after]]
    assert looks > 20
    assert (before[-1], after[-1]) == ("United", "United Airlines")
    assert after[:5] == (before[0] + 1, before[1] + 2, before[2] + 2, before[3] + 1, before[4] + 1)


@pytest.mark.slow
def test_failed_candidate_is_kept_for_inspection(place: Modelling) -> None:
    files = list((place.folder / "candidates").glob("*.duckdb"))
    assert len(files) == 1
    for file in files:
        with duckdb.connect(str(file), read_only=True) as db:
            assert db.execute("SELECT count(*) FROM marts.fct_flights WHERE origin = 'XXX'").fetchall() == [(1,)]


def test_views_work_under_any_attached_name(place: Modelling) -> None:
    with duckdb.connect() as db:
        db.execute(f"ATTACH '{place.marts_file}' AS bi (READ_ONLY)")
        ((months,),) = db.execute("SELECT count(DISTINCT month) FROM bi.marts.airline_punctuality_monthly").fetchall()
    assert months == 1


@pytest.mark.slow
def test_full_run_builds_everything(place: Modelling) -> None:
    run = place.run(full=True)
    assert run is not None
    assert set(run.marts) == DIMENSIONS | FLIGHTS
    assert place.marts(BY_DAY)[0][2] == 999  # a full run includes the change outside of any batch
