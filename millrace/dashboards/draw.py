"""Draws all dashboards into a folder: SVG in both themes, data as CSV and JSON, the query, and one page with all."""

import json
import re
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import vl_convert as vl

from millrace.dashboards.boards import Board, load_boards
from millrace.dashboards.page import DrawnChart, Row, Table, page
from millrace.dashboards.style import THEMES, config
from millrace.settings.tree import ROOT
from millrace.warehouse.reader import Read

BOARDS = ROOT / "dashboards"
SIZE = re.compile(r'<svg[^>]*?\bwidth="([\d.]+)"[^>]*?\bheight="([\d.]+)"')


def draw(read: Read, folder: Path, at: datetime) -> list[DrawnChart]:
    """Draw all boards from the rows that `read` returns as of `at`; returns the charts of the page.

    Raises:
        SettingsError: nothing is published.
        WarehouseRefused: a query failed: the marts lack a table or column of it.
    """
    charts: list[tuple[DrawnChart, Table]] = []
    for board in load_boards(BOARDS):
        table = read(board.sql)
        rows = board.prepare(table.to_pylist())
        _write_data(folder, board, table)
        sentence = board.say(rows) if rows else ""
        chart = DrawnChart(
            name=board.name, title=board.title, sentence=sentence, alt=f"{board.title}: {sentence}", rows=len(rows)
        )
        if rows:
            width, height = _draw(folder, board, rows)
            chart = chart.model_copy(update={"width": width, "height": height})
        charts.append((chart, board.table(rows)))
    (folder / "index.html").write_text(page(charts, at))
    return [chart for chart, _ in charts]


def _write_data(folder: Path, board: Board, table: pa.Table) -> None:
    pc.write_csv(table, folder / f"{board.name}.csv")
    (folder / f"{board.name}.json").write_text(json.dumps(table.to_pylist(), default=str, indent=0))
    (folder / f"{board.name}.sql").write_text(board.sql)


def _draw(folder: Path, board: Board, rows: list[Row]) -> tuple[int, int]:
    """Draw a chart in both themes; returns its size in pixels."""
    size = (0, 0)
    for theme in THEMES:
        chart = board.draw(rows, theme).configure(**config(theme))
        svg = vl.vegalite_to_svg(chart.to_json(), vl_version="6.1")
        (folder / f"{board.name}.{theme.name}.svg").write_text(svg)
        if match := SIZE.search(svg):
            size = (round(float(match[1])), round(float(match[2])))
    return size
