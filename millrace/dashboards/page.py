"""The page of the charts: charts and tables in, one HTML file without external resources out."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from pathlib import Path
from typing import Any

from millrace.domain.types import Frozen

Row = dict[str, Any]
CSS = Path(__file__).with_name("page.css")


class DrawnChart(Frozen):
    """One chart of the page: its summary sentence and its size in pixels; a chart without rows has no picture."""

    name: str
    title: str
    sentence: str
    alt: str
    width: int = 0
    height: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Table:
    """The data of a chart with titled columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def page(charts: Iterable[tuple[DrawnChart, Table]], drawn_at: datetime) -> str:
    """Return the page."""
    parts = list(charts)
    links = "".join(f'<a href="#{chart.name}">{escape(chart.title)}</a>' for chart, _ in parts)
    body = "\n".join(_section(chart, table) for chart, table in parts)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Flights from New York</title><link rel="icon" href="data:,"><style>{CSS.read_text()}</style></head><body>
<header><h1>Flights from New York</h1>
<p class="soft">From the published marts, as of {drawn_at:%Y-%m-%d %H:%M} UTC.</p><nav>{links}</nav></header>
<main>
{body}
</main>
<footer>Each chart shows one query over the marts, with its data below. <a href="../status/index.html">Status</a> ·
<a href="../quality/index.html">Quality</a> · <a href="../dbt/index.html">Models of the marts</a></footer>
</body></html>
"""


def _section(chart: DrawnChart, table: Table) -> str:
    head = f'<section id="{chart.name}"><h2>{escape(chart.title)}</h2>'
    if not chart.rows:
        return f'{head}<p class="soft">The marts have no rows for this chart yet.</p></section>'
    name, alt = chart.name, escape(chart.alt)
    return f"""{head}<p>{escape(chart.sentence)}</p>
<figure class="scroll chart" tabindex="0"><picture>
<source srcset="{name}.dark.svg" media="(prefers-color-scheme: dark)">
<img src="{name}.light.svg" width="{chart.width}" height="{chart.height}" alt="{alt}"></picture></figure>
<div class="data">{_files(name)}</div>
<details><summary>The data as a table, {chart.rows:,} rows</summary>
<div class="scroll" tabindex="0">{_table(table)}</div></details>
</section>"""


def _files(name: str) -> str:
    return "".join(f'<a href="{name}.{kind}">{kind.upper()}</a>' for kind in ("csv", "json", "sql"))


def _table(table: Table) -> str:
    numeric = [any(isinstance(row[index], int | float) for row in table.rows) for index in range(len(table.columns))]
    head = "".join(f"<th{_n(n)}>{escape(name)}</th>" for name, n in zip(table.columns, numeric, strict=True))
    rows = "".join(
        "<tr>"
        + "".join(f"<td{_n(n)}>{escape(_text(cell))}</td>" for cell, n in zip(row, numeric, strict=True))
        + "</tr>"
        for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _n(numeric: bool) -> str:
    return ' class="n"' if numeric else ""


def _text(cell: Any) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, datetime):
        return f"{cell:%H:%M}"
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, float):
        return f"{cell:,.1f}" if abs(cell) >= 1 else f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
