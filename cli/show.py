"""Output of commands: tables and lines for people, JSON and CSV for programs."""

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from millrace.domain.remedies import PROGRAM, rooted

_program = {"command": PROGRAM}
UNCUT_COLUMNS = 2  # the first columns of a table are never cut
PIPED_WIDTH = 160  # of a table that is written into a file or another program
COLOURS = {"good": "green", "bad": "red", "warn": "yellow", "soft": "dim"}


def root_commands(command: str) -> None:
    """Let the commands in all later lines and errors begin with `command`, as this shell needs them."""
    _program["command"] = command


def command(text: str) -> str:
    """Return a command, or a text with commands, as this shell needs it."""
    return rooted(text, _program["command"])


def line(text: str, kind: str = "") -> None:
    """Print a line; `kind` selects its colour on a terminal."""
    from rich.console import Console
    from rich.text import Text

    Console(soft_wrap=True, highlight=False).print(Text(command(text), style=COLOURS.get(kind, "")))


def lines(texts: Iterable[str]) -> None:
    """Print several lines, each as soon as it is there."""
    for text in texts:
        line(text)


def error(text: str) -> None:
    """Print a problem on standard error."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True, highlight=False).print(Text.assemble(("error: ", "bold red"), command(text)))


def note(text: str) -> None:
    """Print a remark on standard error, so that the output stays data."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(command(text), style="dim"))


def as_json(value: Any) -> None:
    """Print one JSON document; times in ISO 8601."""
    typer.echo(json.dumps(value, indent=1, default=str))


def as_csv(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print rows as CSV with a header."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def table(columns: Sequence[str], rows: Iterable[Iterable[Any]], styles: Mapping[str, str] | None = None) -> None:
    """Print a table as wide as the terminal; `styles` maps the text of a cell to its colour."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    output = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    for index, name in enumerate(columns):
        numbers = all(row[index].replace(",", "").isdigit() for row in cells)
        output.add_column(name, no_wrap=index < UNCUT_COLUMNS, justify="right" if numbers and cells else "left")
    for texts in cells:
        output.add_row(*(Text(text, style=COLOURS.get((styles or {}).get(text, ""), "")) for text in texts))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPED_WIDTH)
    console.print(output)
