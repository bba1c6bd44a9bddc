"""The dashboards of this project, each with its query, chart, summary sentence and table."""

from pathlib import Path

from dashboards import charts
from dashboards.flights import FEW, board_row
from millrace.dashboards.boards import Board, Row

QUERIES = Path(__file__).with_name("queries")


def _punctuality(rows: list[Row]) -> str:
    enough = [row for row in rows if row["landed"] >= FEW] or rows
    worst, best = enough[0], enough[-1]
    return (
        f"{worst['airline']} is late most often ({worst['late_share']:.0%} of {worst['landed']:,} landings),"
        f" {best['airline']} least ({best['late_share']:.0%} of {best['landed']:,}). Paler: fewer than {FEW} landings."
    )


def _routes(rows: list[Row]) -> str:
    worst = rows[0]
    return (
        f"From {worst['origin']} to {worst['dest_name']} flights arrive {worst['avg_arr_delay']:.0f} minutes late on"
        " average; only routes with five landings or more are shown."
    )


def _weather(rows: list[Row]) -> str:
    worst = max(rows, key=lambda row: row["late_share"])
    return (
        f"Most departures are late from {worst['origin']} in {_weather_name(worst)}: {worst['late_share']:.0%} of"
        f" {worst['flights']:,}; the mean delay is {worst['avg_dep_delay']:.0f} minutes."
    )


def _weather_name(row: Row) -> str:
    names = {"fair": "fair weather", "windy": "wind", "unknown": "unobserved weather"}
    return names.get(row["weather"], str(row["weather"]).replace("_", " "))


def _board(rows: list[Row]) -> str:
    departed = [row for row in rows if row["dep_delay"] is not None]
    late = sum(row["class"] in ("late", "very late") for row in departed)
    return (
        f"On {rows[0]['flight_date']:%A, %d %B %Y} {len(departed):,} of {len(rows):,} flights departed,"
        f" {late:,} of them more than 15 minutes late."
    )


BOARDS = (
    Board(
        "punctuality",
        charts.punctuality,
        QUERIES / "punctuality.sql",
        "Punctuality by airline",
        _punctuality,
        columns={
            "airline": "airline",
            "landed": "landed",
            "late_arrivals": "late",
            "late_share": "share",
            "cancelled": "cancelled",
        },
    ),
    Board(
        "routes",
        charts.routes,
        QUERIES / "routes.sql",
        "Worst routes",
        _routes,
        columns={
            "origin": "from",
            "dest": "to",
            "dest_name": "airport",
            "landed": "landed",
            "avg_arr_delay": "mean delay, min",
            "worst_arr_delay": "worst, min",
        },
    ),
    Board(
        "weather",
        charts.weather,
        QUERIES / "weather.sql",
        "Delay against weather",
        _weather,
        columns={
            "origin": "from",
            "weather": "weather",
            "flights": "flights",
            "late_departures": "late",
            "late_share": "share",
            "avg_dep_delay": "mean delay, min",
        },
    ),
    Board(
        "board",
        charts.board,
        QUERIES / "board.sql",
        "A day's board",
        _board,
        prepare=lambda rows: [board_row(row) for row in rows],
        columns={
            "local": "time",
            "origin": "from",
            "dest_name": "to",
            "airline": "airline",
            "number": "flight",
            "status": "status",
            "dep_delay": "departed, min",
            "arr_delay": "landed, min",
        },
    ),
)
