"""A chart in the short form and rows in; a Vega-Lite specification out: https://vega.github.io/vega-lite/docs/spec.html.

Words never lie on marks: the text of a bar stands behind its end, for which the scale leaves room, and on a phone the
name of a bar stands above it.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from millrace.dashboards.boards import Board, Chart
from millrace.dashboards.formats import Row, is_number, parts_of_format, plain, shown
from millrace.dashboards.style import LETTER, NARROW, WIDTH, Theme
from millrace.dashboards.text import fill

Spec = dict[str, Any]
ROW_NAME, ROW_LABEL, ROW_END, ROW_LINE = "_name", "_label", "_end", "_line"  # columns of the drawn rows
STEP, GROUPED_STEP, NARROW_STEP, BAR = 26, 20, 46, 17
LONGEST_NAME = 40  # letters of a bar's name on a desk
MOST_BARS, MOST_POINTS = 60, 40
EDGE = 30  # pixels that a picture's padding and a bar's end take


def vega(board: Board, chart: Chart, rows: Sequence[Row], theme: Theme, *, narrow: bool) -> Spec:
    """Return the specification of a chart, with its data in it; `rows` are those of `drawn_rows`."""
    if chart.kind == "bar":
        if is_number(rows[0][chart.x]):
            return _bars(board, chart, rows, theme, narrow=narrow)
        return _columns(board, chart, rows, theme, narrow=narrow)
    return _points(board, chart, rows, theme, narrow=narrow)


def drawn_rows(chart: Chart, rows: Sequence[Row]) -> list[Row]:
    """Return the rows that have what the chart shows; a line keeps those without a value, where it has a gap.

    Of bars there are at most `MOST_BARS`, the first ones.
    """
    needed = [chart.x] if chart.kind == "line" else [chart.x, chart.y]
    complete = [row for row in rows if all(row[name] is not None for name in needed)]
    if chart.kind == "line":
        return complete if any(row[chart.y] is not None for row in complete) else []
    return complete[:MOST_BARS] if chart.kind == "bar" else complete


def _bars(board: Board, chart: Chart, rows: Sequence[Row], theme: Theme, *, narrow: bool) -> Spec:
    """Return horizontal bars, in the order of the rows."""
    grouped = len({row[chart.y] for row in rows}) < len(rows)
    values = [_bar_row(board, chart, row, number, grouped and narrow) for number, row in enumerate(rows)]
    names = max(len(value[ROW_NAME]) for value in values)
    axis = 0 if narrow else names * LETTER + 8
    inner = (NARROW if narrow else WIDTH) - axis - EDGE
    least = min([0.0, *(value[chart.x] for value in values)])
    ends = [(value[ROW_END] - least, len(value[ROW_LABEL]) * LETTER + 10) for value in values]
    most = least + max(end * inner / max(inner - text, inner * 0.2) for end, text in ends)
    x = {
        "field": chart.x,
        "type": "quantitative",
        "title": chart.x_title or board.columns.get(chart.x, chart.x.replace("_", " ")),
        "axis": {**_number_axis(board, chart.x), "tickCount": 3 if narrow else 5, "grid": False},
        "scale": {"domain": [least, most if most > least else 1], "nice": False},
    }
    field = ROW_LINE if narrow else ROW_NAME
    y: Spec = {"field": field, "type": "nominal", "sort": None, "axis": None}
    if not narrow:
        y["axis"] = {"title": None, "labelLimit": axis, "ticks": False, "domain": False, "minExtent": axis - 6}
    offset = {"yOffset": {"field": chart.colour, "type": "nominal", "sort": None}} if grouped and not narrow else {}
    step = NARROW_STEP if narrow else GROUPED_STEP if offset else STEP
    bar = {"type": "bar", "cornerRadiusEnd": 3, "height": 14 if narrow or offset else BAR}
    down = {"yOffset": 9} if narrow else {}
    encoding: Spec = {"y": y, **offset}
    text = {"type": "text", "align": "left", "baseline": "middle", "dx": 5, **down}
    end = {"field": ROW_END, "type": "quantitative"}
    layers = [
        {"mark": {**bar, **down}, "encoding": {**encoding, "x": x, **_colour(chart, rows, theme, narrow=narrow)}},
        {"mark": text, "encoding": {**encoding, "x": end, "text": {"field": ROW_LABEL}}},
    ]
    if narrow:
        above = {"type": "text", "align": "left", "baseline": "middle", "yOffset": -9, "color": theme.text}
        layers.append({"mark": above, "encoding": {"y": y, "x": {"value": 0}, "text": {"field": ROW_NAME}}})
    height = {"step": step, "for": "position"} if not offset else {"step": step}
    return {"data": {"values": values}, "width": inner, "height": height, "layer": layers}


def _bar_row(board: Board, chart: Chart, row: Row, number: int, named: bool) -> Row:
    """Return what is drawn of a row: its value, name and text; with `named` its group is in the name."""
    value = float(row[chart.x])
    name = shown(row[chart.y], board.format.get(chart.y, ""), board.zone)
    if named and chart.colour:
        name += f" · {shown(row[chart.colour], '', board.zone)}"
    name = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    plainly = shown(row[chart.x], board.format.get(chart.x, ""), board.zone)
    label = fill(chart.label, board, [row]) if chart.label else plainly
    group = {chart.colour: plain(row[chart.colour], board.zone)} if chart.colour else {}
    drawn = {ROW_NAME: name, ROW_LABEL: label, ROW_END: max(0.0, value), ROW_LINE: str(number)}
    return {**group, **drawn, chart.x: value}


def _columns(board: Board, chart: Chart, rows: Sequence[Row], theme: Theme, *, narrow: bool) -> Spec:
    """Return vertical bars over time or categories."""
    values = [{name: plain(row[name], board.zone) for name in chart.columns} for row in rows]
    x = _axis(board, chart.x, rows, chart.x_title, narrow=narrow)
    if x["type"] == "temporal":
        x = {**x, "type": "ordinal", "timeUnit": _unit(rows, chart.x), "axis": {**x["axis"], "labelOverlap": True}}
    y = _axis(board, chart.y, rows, chart.y_title, narrow=narrow)
    return {
        "data": {"values": values},
        **across(narrow),
        "height": 220 if narrow else 280,
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {"x": x, "y": y, **_colour(chart, rows, theme, narrow=narrow)},
    }


def _points(board: Board, chart: Chart, rows: Sequence[Row], theme: Theme, *, narrow: bool) -> Spec:
    values = [{name: plain(row[name], board.zone) for name in chart.columns} for row in rows]
    y = _axis(board, chart.y, rows, chart.y_title, narrow=narrow)
    if y["type"] == "quantitative":
        scale: Spec = {"zero": False, "padding": 8, "nice": True}
        y["scale"] = scale | ({"type": chart.scale, "constant": 20} if chart.scale != "linear" else {})
        if chart.scale == "symlog":
            y["axis"]["values"] = _symmetric([row[chart.y] for row in rows if row[chart.y] is not None])
    mark: Spec = {"type": "circle", "size": 34, "opacity": 0.75}
    if chart.kind == "line":
        mark = {"type": "line", "strokeWidth": 2, "point": {"size": 30} if len(rows) <= MOST_POINTS else False}
    return {
        "data": {"values": values},
        **across(narrow),
        "height": 240 if narrow else 300,
        "mark": mark,
        "encoding": {
            "x": _axis(board, chart.x, rows, chart.x_title, narrow=narrow, room=True),
            "y": y,
            **_colour(chart, rows, theme, narrow=narrow),
        },
    }


def across(narrow: bool) -> Spec:
    """Return the width of a whole picture, words at its axes included."""
    return {"width": NARROW if narrow else WIDTH, "autosize": {"type": "fit-x", "contains": "padding"}}


def _axis(board: Board, name: str, rows: Sequence[Row], title: str, *, narrow: bool, room: bool = False) -> Spec:
    """Return the encoding of a column along an axis, by the type of its values."""
    values = [row[name] for row in rows if row[name] is not None]
    title = title or board.columns.get(name, name.replace("_", " "))
    if values and isinstance(values[0], date | datetime):
        clock = _within_days(values)
        axis: Spec = {"grid": False, "tickCount": 4 if narrow else 9, "labelOverlap": True}
        axis |= {"format": "%H:%M"} if clock else {}
        return {"field": name, "type": "temporal", "scale": {"type": "utc"}, "title": title, "axis": axis}
    if values and is_number(values[0]):
        axis = {**_number_axis(board, name), "tickCount": 4 if narrow else 6}
        return {
            "field": name,
            "type": "quantitative",
            "title": title,
            "axis": axis,
            **({"scale": {"zero": False, "padding": 8}} if room else {}),
        }
    axis = {"labelAngle": -40 if narrow else 0, "labelLimit": 110, "labelOverlap": True}
    return {"field": name, "type": "nominal", "sort": None, "title": title, "axis": axis}


def _number_axis(board: Board, name: str) -> Spec:
    if name not in board.format:
        return {}
    before, spec, after = parts_of_format(board.format[name])
    if not before and not after:
        return {"format": spec}
    minus = "(datum.value < 0 ? '-' : '')"
    return {"labelExpr": f"{minus} + {before!r} + format(abs(datum.value), {spec!r}) + {after!r}"}


def _within_days(values: Sequence[Any]) -> bool:
    """Return True when instants are within two days, so that their hours tell them apart."""
    instants = [value.replace(tzinfo=None) for value in values if isinstance(value, datetime)]
    return len(instants) == len(values) and (max(instants) - min(instants)).days < 2


def _unit(rows: Sequence[Row], name: str) -> str:
    values = {row[name] for row in rows}
    if all(value.day == 1 for value in values) and len(values) > 1:
        return "utcyearmonth"
    return (
        "utcyearmonthdate" if not any(isinstance(v, datetime) and v.hour for v in values) else "utcyearmonthdatehours"
    )


def _symmetric(values: Sequence[Any]) -> list[int]:
    """Return ticks that double on both sides of zero, as far as the values go."""
    ticks, tick, most = [0], 15, max(abs(float(value)) for value in values)
    while tick <= most:
        ticks += [tick, -tick] if min(values) <= -tick else [tick]
        tick *= 2
    return sorted(ticks)


def _colour(chart: Chart, rows: Sequence[Row], theme: Theme, *, narrow: bool) -> Spec:
    if not chart.colour:
        return {}
    present = list(dict.fromkeys(row[chart.colour] for row in rows if row[chart.colour] is not None))
    named = [value for value in chart.colours if value in [str(p) for p in present]]
    order = [*named, *(str(p) for p in present if str(p) not in named)]
    free = [name for name in theme.palette if name not in chart.colours.values()] or list(theme.palette)
    names = [chart.colours.get(value) or free[index % len(free)] for index, value in enumerate(order)]
    scale = {"domain": order, "range": [theme.palette[name] for name in names]}
    legend: Spec = {"title": None, "symbolLimit": 12} | ({"columns": 2} if narrow else {})
    legend |= {"offset": 6} if chart.kind == "bar" and is_number(rows[0][chart.x]) else {}  # no title stands above bars
    return {"color": {"field": chart.colour, "type": "nominal", "scale": scale, "legend": legend, "sort": order}}
