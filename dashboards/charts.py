"""Charts of the dashboards: rows of a query in, an Altair chart out; pure. Every figure is computed from the rows."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import altair as alt

from dashboards.flights import FEW
from millrace.dashboards.style import WIDTH, Theme

Row = dict[str, Any]
Chart = Callable[[list[Row], Theme], Any]  # Altair's kinds of charts have no common type that can be configured
WEATHER = {"unknown": "not observed"}
BAR: dict[str, Any] = {"cornerRadiusEnd": 3, "size": 17}
ROW = 25
TICKS, SYMLOG_MIN = [-30, -15, 0, 15, 30, 60, 120, 240, 480, 960], 20
LABEL: dict[str, Any] = {"align": "left", "baseline": "middle", "dx": 5}
ROOM = 1.25  # to the right of the longest bar, for its label


def punctuality(rows: list[Row], theme: Theme) -> Any:
    """Draw a bar per airline: its share of late landings, with the share of all airlines as a line."""
    landed = sum(row["landed"] for row in rows)
    mean = sum(row["late_arrivals"] for row in rows) / landed
    values = [
        {
            "airline": row["airline"],
            "late_share": row["late_share"],
            "few": row["landed"] < FEW,
            "label": f"{row['late_share']:.0%} of {row['landed']:,}",
        }
        for row in rows
    ]
    most = max(row["late_share"] for row in rows) * ROOM or 1
    base = alt.Chart({"values": values}).encode(
        y=alt.Y("airline:N", sort=None, title=None, axis=alt.Axis(labelLimit=240, ticks=False, domain=False))
    )
    share = alt.X(
        "late_share:Q",
        title="landed more than 15 minutes late",
        axis=alt.Axis(format=".0%", tickCount=5, grid=False),
        scale=alt.Scale(domain=[0, most], nice=False),
    )
    bars = base.mark_bar(color=theme.accent, **BAR).encode(
        x=share, opacity=alt.condition("datum.few", alt.value(0.45), alt.value(1))
    )
    all_flights = alt.Chart({"values": [{"mean": mean, "label": f"all airlines {mean:.0%}"}]})
    rule = all_flights.mark_rule(color=theme.text, strokeDash=[4, 3]).encode(x="mean:Q")
    word = all_flights.mark_text(align="left", dx=5, dy=-6, baseline="bottom").encode(
        x="mean:Q", y=alt.value(0), text="label:N"
    )
    return alt.layer(bars, rule, *_labels(base.encode(x=share), theme), word).properties(
        width=WIDTH - 240, height=alt.Step(ROW)
    )


def routes(rows: list[Row], theme: Theme) -> Any:
    """Draw a bar per route: the mean delay at arrival."""
    values = [
        {
            "route": f"{row['origin']} → {row['dest_name']}",
            "delay": row["avg_arr_delay"],
            "end": max(0, row["avg_arr_delay"]),
            "label": f"{row['avg_arr_delay']:.0f} min in {row['landed']:,} landings, worst {row['worst_arr_delay']:,}",
        }
        for row in rows
    ]
    least = min(0, *(row["avg_arr_delay"] for row in rows))
    most = max(1, *(row["avg_arr_delay"] for row in rows)) * 1.45
    base = alt.Chart({"values": values}).encode(
        y=alt.Y("route:N", sort=None, title=None, axis=alt.Axis(labelLimit=270, ticks=False, domain=False))
    )
    delay = _minutes("mean delay at arrival, minutes", least, most)
    bars = base.mark_bar(color=theme.accent, **BAR).encode(x=delay)
    return alt.layer(bars, *_labels(base.encode(x="end:Q"), theme)).properties(width=WIDTH - 270, height=alt.Step(ROW))


def _minutes(title: str, least: float, most: float) -> alt.X:
    return alt.X(
        "delay:Q",
        title=title,
        axis=alt.Axis(tickCount=5, grid=False),
        scale=alt.Scale(domain=[least, most], nice=False),
    )


def weather(rows: list[Row], theme: Theme) -> Any:
    """Draw a bar per origin and weather: the mean delay at departure."""
    values = [
        {
            "origin": row["origin"],
            "in": weather_name(row),
            "delay": row["avg_dep_delay"],
            "end": max(0, row["avg_dep_delay"]),
            "label": f"{row['avg_dep_delay']:.0f} min, {row['late_share']:.0%} of {row['flights']:,} late",
        }
        for row in rows
    ]
    least = min(0, *(row["avg_dep_delay"] for row in rows))
    most = max(1, *(row["avg_dep_delay"] for row in rows)) * 1.35
    origins = sorted({row["origin"] for row in rows})
    colours = [theme.origins[index % len(theme.origins)] for index in range(len(origins))]
    delay = _minutes("mean delay at departure, minutes", least, most)
    base = alt.Chart().encode(y=alt.Y("origin:N", title=None, axis=alt.Axis(ticks=False, domain=False)))
    bars = base.mark_bar(**BAR).encode(
        x=delay, color=alt.Color("origin:N", legend=None, scale=alt.Scale(domain=origins, range=colours))
    )
    flights: Counter[str] = Counter()
    for row in rows:
        flights[weather_name(row)] += row["flights"]
    return (
        alt.layer(bars, *_labels(base.encode(x="end:Q"), theme), data={"values": values})
        .properties(width=WIDTH - 180, height=alt.Step(ROW))
        .facet(
            row=alt.Row(
                "in:N",
                title=None,
                sort=[name for name, _ in flights.most_common()],
                header=alt.Header(labelAngle=0, labelAlign="left", labelPadding=20),
            ),
            spacing=14,
        )
        .resolve_scale(y="independent")
    )


def board(rows: list[Row], theme: Theme) -> Any:
    """Draw a point per flight: its scheduled departure in the origin's time zone, and its delay."""
    flown = [row for row in rows if row["dep_delay"] is not None]
    values = [
        {"at": f"{row['local']:%Y-%m-%dT%H:%M:00Z}", "delay": row["dep_delay"], "class": row["class"]} for row in flown
    ]
    present = [name for name in theme.classes if any(row["class"] == name for row in values)]
    colours = alt.Scale(domain=present, range=[theme.classes[name] for name in present])
    points = (
        alt.Chart({"values": values})
        .mark_circle(size=34, opacity=0.75)
        .encode(
            x=alt.X(
                "at:T",
                title="scheduled departure, by the origin's clock",
                scale=alt.Scale(type="utc"),
                axis=alt.Axis(format="%H:%M", grid=False, tickCount=10),
            ),
            y=alt.Y(
                "delay:Q",
                title="departed late by, minutes",
                axis=alt.Axis(values=TICKS),
                scale=alt.Scale(type="symlog", constant=SYMLOG_MIN),
            ),
            color=alt.Color("class:N", title=None, scale=colours),
        )
    )
    return points.properties(width=WIDTH - 60, height=300)


def _labels(base: alt.Chart, theme: Theme) -> tuple[alt.Chart, alt.Chart]:
    """Draw the labels at the end of bars, with a halo that keeps them readable over lines."""
    halo = base.mark_text(**LABEL, color=theme.background, stroke=theme.background, strokeWidth=4)
    return halo.encode(text="label:N"), base.mark_text(**LABEL).encode(text="label:N")


def weather_name(row: Row) -> str:
    """Return the display name of a row's weather."""
    return WEATHER.get(row["weather"], str(row["weather"]).replace("_", " "))
