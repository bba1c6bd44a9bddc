"""Model runs with the real dbt and Great Expectations: what is built, and what readers see meanwhile."""

from datetime import date

import duckdb
import pytest

from bench.model_run import ModelRun
from millrace.domain.errors import QualityFailed
from tests.support.modelling import AIRLINES, AIRPORTS, Modelling, Poller, flight

DIMENSIONS = {"dim_airline", "dim_airport", "dim_plane"}
FLIGHTS = {"fct_flights", "airline_punctuality_daily", "airline_punctuality_monthly", "route_delays", "weather_delays"}
BY_DAY = "SELECT flight_date, count(*), max(distance) FROM marts.fct_flights GROUP BY 1 ORDER BY 1"
EVERYWHERE = """SELECT
  (SELECT count(*) FROM marts.fct_flights), (SELECT sum(scheduled) FROM marts.airline_punctuality_daily),
  (SELECT sum(scheduled) FROM marts.airline_punctuality_monthly), (SELECT sum(flights) FROM marts.route_delays),
  (SELECT sum(flights) FROM marts.weather_delays), (SELECT max(name) FROM marts.dim_airline WHERE carrier = 'UA')"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Modelling:
    """A warehouse whose marts have flights of two days."""
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


def test_a_merge_without_an_effect_is_published_without_dbt(place: Modelling) -> None:
    place.merge("flights", counted=False)
    run = place.run()
    assert run is not None
    assert run.marts == ()
    assert place.run() is None


def test_only_what_a_stream_affects_is_built_and_the_rest_is_as_it_was_published(place: Modelling) -> None:
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
    """Two runs: flights of days 2 to 5 come; then those of day 4 go, and one of day 5 is put right."""
    place.run()
    with place.writing() as db:
        db.execute("UPDATE raw_airport_ops.flights SET distance = 999")  # a change that no batch tells of
    lost = flight(5, 2, status="lost")
    place.merge("flights", flight(2, distance=800), flight(3, distance=900), flight(4), flight(5, tailnum="N7"), lost)
    first = place.run()
    place.seen = place.marts(BY_DAY)
    place.merge("flights", flight(5, 2), deletes=(flight(4),))
    return first, place.run()


def test_only_days_in_which_rows_changed_are_built_anew(place: Modelling, days: tuple[ModelRun, ModelRun]) -> None:
    assert set(days[0].marts) == set(days[1].marts) == FLIGHTS
    assert place.seen[:3] == [(date(2013, 1, 1), 1, 700), (date(2013, 1, 2), 2, 999), (date(2013, 1, 3), 1, 900)]
    assert place.marts(BY_DAY)[:3] == place.seen[:3]


def test_rows_that_break_a_rule_of_severity_quarantine_stay_out_until_they_are_right(
    place: Modelling, days: tuple[ModelRun, ModelRun]
) -> None:
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


def test_a_day_whose_flights_are_all_gone_is_gone(place: Modelling, days: tuple[ModelRun, ModelRun]) -> None:
    assert date(2013, 1, 4) in [row[0] for row in place.seen]
    assert date(2013, 1, 4) not in [row[0] for row in place.marts(BY_DAY)]
    cancelled = "SELECT scheduled, cancelled FROM marts.airline_punctuality_daily WHERE flight_date = '2013-01-04'"
    assert place.marts(cancelled) == [(1, 1)]


def test_a_new_plane_is_known_to_flights_of_all_days(place: Modelling, days: tuple[ModelRun, ModelRun]) -> None:
    known = "SELECT plane_key FROM marts.fct_flights WHERE tailnum = 'N7'"
    assert place.marts(known) == [("unknown",)]
    place.merge("planes", {"tailnum": "N7", "year": 2001})
    place.merge("flights", flight(3, 8))
    place.run()
    assert place.marts(known) == [("N7",)]


def test_readers_see_the_old_marts_or_the_new_ones_and_nothing_else(place: Modelling) -> None:
    """All through a build that the gate refuses, and one that passes."""
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


def test_a_refused_candidate_is_kept_to_be_looked_at(place: Modelling) -> None:
    kept = list((place.folder / "candidates").glob("*.duckdb"))
    assert len(kept) == 1
    for file in kept:
        with duckdb.connect(str(file), read_only=True) as db:
            assert db.execute("SELECT count(*) FROM marts.fct_flights WHERE origin = 'XXX'").fetchall() == [(1,)]


def test_views_are_there_under_whatever_name_readers_attach_the_file(place: Modelling) -> None:
    with duckdb.connect() as db:
        db.execute(f"ATTACH '{place.marts_file}' AS bi (READ_ONLY)")
        ((months,),) = db.execute("SELECT count(DISTINCT month) FROM bi.marts.airline_punctuality_monthly").fetchall()
    assert months == 1


def test_a_full_run_builds_everything_from_nothing(place: Modelling) -> None:
    run = place.run(full=True)
    assert run is not None
    assert set(run.marts) == DIMENSIONS | FLIGHTS
    assert place.marts(BY_DAY)[0][2] == 999  # what no batch told of is in now
