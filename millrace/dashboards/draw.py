"""Draws all dashboards into a folder: SVG in both themes and widths, data as CSV and JSON, the query, and one page."""

import copy
import csv
import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import vl_convert as vl

from millrace.dashboards.boards import Board, BrokenBoard, load_boards
from millrace.dashboards.formats import Row, exact, is_number, plain, shown
from millrace.dashboards.page import DrawnChart, Table, page
from millrace.dashboards.short_form import MOST_BARS, across, drawn_rows, vega
from millrace.dashboards.style import THEMES, Theme, config
from millrace.dashboards.text import fill
from millrace.domain.errors import MillraceError, SettingsError
from millrace.project import current_project
from millrace.warehouse.reader import Read

SIZE = re.compile(r'<svg[^>]*?\bwidth="([\d.]+)"[^>]*?\bheight="([\d.]+)"')
STATES = "charts.json"
VEGA_LITE = "6.1"
COMPOSED = ("facet", "repeat", "concat", "hconcat", "vconcat")  # views whose width is not that of the picture
Widths = dict[str, tuple[int, int]]  # the size of the wide and of the narrow picture


def draw(read: Read, folder: Path, at: datetime) -> list[DrawnChart]:
    """Draw all boards from the rows that `read` returns as of `at`; returns the charts of the page.

    A chart that can't be drawn says why on the page and in `charts.json`, and the others are drawn.
    """
    project = current_project()
    drawn = [_draw_board(read, folder, board) for board in load_boards(project.dashboards)]
    (folder / "index.html").write_text(page(drawn, at))
    states = [{"name": c.name, "title": c.title, "error": c.error, "at": at.isoformat()} for c, _ in drawn]
    (folder / STATES).write_text(json.dumps(states, indent=0))
    return [chart for chart, _ in drawn]


def _draw_board(read: Read, folder: Path, board: Board | BrokenBoard) -> tuple[DrawnChart, Table]:
    if isinstance(board, BrokenBoard):
        return DrawnChart(name=board.name, title=board.title, error=board.error), Table((), [], 0)
    (folder / f"{board.name}.sql").write_text(board.sql.strip() + "\n")
    try:
        return _draw_rows(folder, board, read(board.sql).to_pylist())
    except Exception as error:  # whatever a query or a specification makes the engine or the renderer raise
        return DrawnChart(name=board.name, title=board.title, error=_explain(error)), Table((), [], 0)


def _explain(error: Exception) -> str:
    """Return an error in one line; that of a library begins with its class."""
    text = " ".join(str(error).split()) or "no reason is given"
    return text if isinstance(error, MillraceError) else f"{type(error).__name__}: {text}"


def _draw_rows(folder: Path, board: Board, rows: list[Row]) -> tuple[DrawnChart, Table]:
    _write_data(folder, board, rows)
    chart = DrawnChart(name=board.name, title=board.title, kind=board.kind, rows=len(rows))
    if not rows:
        return chart, _table(board, rows)
    _check_columns(board, rows[0])
    sentence = fill(board.text, board, rows)
    chart = chart.model_copy(update={"sentence": sentence, "alt": f"{board.title}: {sentence}".rstrip(": ")})
    if board.chart and board.chart.kind == "number":
        value = shown(rows[0][board.chart.y], board.format.get(board.chart.y, ""), board.zone)
        label = fill(board.chart.label, board, rows) if board.chart.label else ""
        return chart.model_copy(update={"figure": value, "label": label}), _table(board, rows)
    values = drawn_rows(board.chart, rows) if board.chart and board.kind != "table" else rows
    if board.kind != "table" and not values:
        return chart.model_copy(update={"rows": 0}), _table(board, [])
    if board.kind != "table":
        sizes = _pictures(folder, board, values)
        (width, height), (narrow, narrow_height) = sizes["wide"], sizes.get("narrow", (0, 0))
        chart = chart.model_copy(
            update={"width": width, "height": height, "narrow_width": narrow, "narrow_height": narrow_height}
        )
    return chart.model_copy(update={"note": _left_out(len(rows), len(values))}), _table(board, rows)


def _left_out(rows: int, drawn: int) -> str:
    """Return how many rows are not drawn, and why; '' when all are."""
    if drawn == MOST_BARS < rows:
        return f"Only the first {MOST_BARS} of {rows:,} rows are drawn; limit them in the query."
    left = rows - drawn
    return f"{left:,} of {rows:,} rows {'is' if left == 1 else 'are'} not drawn, without a value." if left else ""


def _check_columns(board: Board, row: Row) -> None:
    named = [*(board.chart.columns if board.chart else []), *board.columns]
    if missing := [name for name in dict.fromkeys(named) if name not in row]:
        raise SettingsError(f"the query has no column {missing[0]!r}; it returns {', '.join(row)}")


def _pictures(folder: Path, board: Board, rows: list[Row]) -> Widths:
    """Draw a chart in both themes and widths; return the sizes in pixels."""
    sizes: Widths = {}
    for theme in THEMES:
        for width in ("wide", "narrow"):
            spec = _specification(board, rows, theme, narrow=width == "narrow")
            if spec is None:
                continue
            spec["config"] = _merged(config(theme), spec.get("config", {}))
            svg = vl.vegalite_to_svg(json.dumps(spec), vl_version=VEGA_LITE)
            name = f"{board.name}.{theme.name}.svg" if width == "wide" else f"{board.name}.{theme.name}.narrow.svg"
            (folder / name).write_text(svg)
            if match := SIZE.search(svg):
                sizes[width] = (round(float(match[1])), round(float(match[2])))
    return sizes


def _specification(board: Board, rows: list[Row], theme: Theme, *, narrow: bool) -> dict[str, Any] | None:
    """Return the Vega-Lite specification of a board; None when it has no narrow one."""
    if board.chart:
        return vega(board, board.chart, rows, theme, narrow=narrow)
    spec: dict[str, Any] = copy.deepcopy(board.spec or {})
    spec["data"] = {"values": [{name: plain(value, board.zone) for name, value in row.items()} for row in rows]}
    composed = any(name in spec for name in COMPOSED) or {"row", "column", "facet"} & set(spec.get("encoding", {}))
    if narrow and composed:
        return None
    if not composed and (narrow or "width" not in spec):
        spec |= across(narrow)
    return spec


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings, where those of `over` win."""
    both = {
        name: _merged(value, over[name])
        for name, value in base.items()
        if isinstance(value, dict) and isinstance(over.get(name), dict)
    }
    return {**base, **over, **both}


def _write_data(folder: Path, board: Board, rows: list[Row]) -> None:
    values = [{name: exact(value, board.zone) for name, value in row.items()} for row in rows]
    (folder / f"{board.name}.json").write_text(json.dumps(values, indent=0, ensure_ascii=False))
    with (folder / f"{board.name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0] if rows else board.columns)
        writer.writerows([json.dumps(v) if isinstance(v, list | dict) else v for v in row.values()] for row in values)


def _table(board: Board, rows: Sequence[Row]) -> Table:
    """Return the rows as people read them, with titled columns; numbers stand on the right."""
    titles = board.columns or {name: name.replace("_", " ") for name in (rows[0] if rows else {})}
    numeric = tuple(any(is_number(row[name]) for row in rows) for name in titles)
    cells = [
        tuple(shown(row[name], board.format.get(name, ""), board.zone) for name in titles) for row in rows[: Table.MOST]
    ]
    return Table(tuple(titles.values()), cells, len(rows), numeric)
