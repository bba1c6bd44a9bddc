"""What commands print: tables and lines for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

KEPT = 2  # columns that are never cut
PIPED = 160  # columns of what goes into a file or another program
COLOURS = {"good": "green", "bad": "red", "warn": "yellow", "soft": "dim"}


def line(text: str, kind: str = "") -> None:
    """A line; `kind` colours it where someone looks."""
    from rich.console import Console
    from rich.text import Text

    Console(soft_wrap=True, highlight=False).print(Text(text, style=COLOURS.get(kind, "")))


def error(text: str) -> None:
    """A line on standard error about what is wrong."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True, highlight=False).print(Text.assemble(("error: ", "bold red"), text))


def as_json(value: Any) -> None:
    """One JSON document; times in ISO 8601."""
    typer.echo(json.dumps(value, indent=1, default=str))


def table(columns: Sequence[str], rows: Iterable[Iterable[Any]], styles: Mapping[str, str] | None = None) -> None:
    """A table as wide as the terminal; `styles` gives the colour of a cell by its text."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    for place, name in enumerate(columns):
        numbers = all(row[place].replace(",", "").isdigit() for row in cells)
        made.add_column(name, no_wrap=place < KEPT, justify="right" if numbers and cells else "left")
    for texts in cells:
        made.add_row(*(Text(text, style=COLOURS.get((styles or {}).get(text, ""), "")) for text in texts))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPED)
    console.print(made)
