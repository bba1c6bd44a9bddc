"""The page of the charts: charts and tables in, one HTML file without external resources out."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import ClassVar

from millrace.domain.types import Frozen

CSS = Path(__file__).with_name("page.css")
EMPTY = (
    "<section><h2>No dashboards yet</h2><p>Put a file into <code>dashboards/</code> of the project, with a title, a"
    " query on the marts and a chart, and look at it with <code>millrace dashboards --watch</code>.</p></section>"
)


class DrawnChart(Frozen):
    """One chart of the page: its summary sentence and its sizes in pixels; a chart without rows has no picture.

    `error` says why it could not be drawn, `note` which rows are not, and `figure` is the number
    of a chart that is one.
    """

    name: str
    title: str
    sentence: str = ""
    alt: str = ""
    kind: str = ""
    width: int = 0
    height: int = 0
    narrow_width: int = 0
    narrow_height: int = 0
    rows: int = 0
    note: str = ""
    figure: str = ""
    label: str = ""
    error: str = ""


@dataclass(frozen=True)
class Table:
    """The data of a chart with titled columns: the first rows as text, of `total`."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    total: int
    numeric: tuple[bool, ...] = ()
    MOST: ClassVar[int] = 500


def page(charts: Iterable[tuple[DrawnChart, Table]], drawn_at: datetime) -> str:
    """Return the page."""
    parts = list(charts)
    links = "".join(f'<a href="#{chart.name}">{escape(chart.title)}</a>' for chart, _ in parts)
    body = "\n".join(_section(chart, table) for chart, table in parts) or EMPTY
    broken = sum(bool(chart.error) for chart, _ in parts)
    verb = "chart is" if broken == 1 else "charts are"
    warning = f'<p class="bad">{broken} of {len(parts)} {verb} not drawn; the reasons are below.</p>' if broken else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Dashboards · Millrace</title><link rel="icon" href="data:,"><style>{CSS.read_text()}</style></head><body>
<header><h1>Dashboards</h1>
<p class="soft">From the published marts, as of {drawn_at:%Y-%m-%d %H:%M} UTC.</p>{warning}<nav>{links}</nav></header>
<main>
{body}
</main>
<footer>Each chart shows one query over the marts, with its data below. <a href="../status/index.html">Status</a> ·
<a href="../quality/index.html">Quality</a> · <a href="../dbt/index.html">Models of the marts</a></footer>
</body></html>
"""


def _section(chart: DrawnChart, table: Table) -> str:
    head = f'<section id="{chart.name}"><h2>{escape(chart.title)}</h2>'
    if chart.error:
        return f"""{head}<div class="error"><b>This chart can't be drawn.</b> <span>{escape(chart.error)}</span></div>
<p class="soft">Correct <code>dashboards/{escape(chart.name)}.yaml</code>, or the mart that it reads; look at it with
<code>millrace dashboards --watch</code>.</p></section>"""
    if not chart.rows:
        return f'{head}<p class="soft">The marts have no rows for this chart yet.</p></section>'
    sentence = f"<p>{escape(chart.sentence)}</p>" if chart.sentence else ""
    return f"""{head}{sentence}
{_drawing(chart)}{_shown_table(chart, table)}
</section>"""


def _drawing(chart: DrawnChart) -> str:
    if chart.figure:
        label = f"<span>{escape(chart.label)}</span>" if chart.label else ""
        return f'<p class="figure"><b>{escape(chart.figure)}</b>{label}</p>'
    if not chart.width:
        return ""
    name, small = chart.name, "(max-width: 640px)"
    sources, hint = "", ""
    if chart.narrow_width:
        size = f'width="{chart.narrow_width}" height="{chart.narrow_height}"'
        sources = (
            f'<source srcset="{name}.dark.narrow.svg" media="{small} and (prefers-color-scheme: dark)" {size}>\n'
            f'<source srcset="{name}.light.narrow.svg" media="{small}" {size}>\n'
        )
    else:
        hint = '<p class="hint">Swipe the chart to see all of it →</p>'
    note = f'<p class="soft">{escape(chart.note)}</p>' if chart.note else ""
    return f"""{hint}<figure class="chart{"" if chart.narrow_width else " scroll"}" tabindex="0"><picture>
{sources}<source srcset="{name}.dark.svg" media="(prefers-color-scheme: dark)">
<img src="{name}.light.svg" width="{chart.width}" height="{chart.height}" alt="{escape(chart.alt)}"></picture></figure>
{note}"""


def _shown_table(chart: DrawnChart, table: Table) -> str:
    files = "".join(f'<a href="{chart.name}.{kind}">{kind.upper()}</a>' for kind in ("csv", "json", "sql"))
    rows = "1 row" if table.total == 1 else f"{table.total:,} rows"
    more = f'<p class="soft">The first {len(table.rows):,} of {rows}; all are in the files.</p>'
    body = f'<div class="scroll" tabindex="0">{_html(table)}</div>{more if table.total > len(table.rows) else ""}'
    if chart.kind == "table":
        return f'{body}<div class="data">{files}</div>'
    return f"""<div class="data">{files}</div>
<details><summary>The data as a table, {rows}</summary>
{body}</details>"""


def _html(table: Table) -> str:
    head = "".join(f"<th{_n(n)}>{escape(name)}</th>" for name, n in zip(table.columns, table.numeric, strict=True))
    rows = "".join(
        "<tr>"
        + "".join(f"<td{_n(n)}>{escape(cell)}</td>" for cell, n in zip(row, table.numeric, strict=True))
        + "</tr>"
        for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _n(numeric: bool) -> str:
    return ' class="n"' if numeric else ""
