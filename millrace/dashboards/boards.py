"""Loads the boards of a project: its folder `dashboards/` in, `Board` values out."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from millrace.dashboards.page import Row as Row
from millrace.dashboards.page import Table
from millrace.dashboards.style import Theme
from millrace.domain.errors import SettingsError

PACKAGE = "dashboards"


@dataclass(frozen=True)
class Board:
    """One chart of the rows of a query on `marts.<table>`.

    `prepare` transforms the rows, `draw` makes the chart, `say` summarizes the rows in a sentence, and `columns` are
    the columns of the table under the chart, with their titles.
    """

    name: str
    draw: Callable[[list[Row], Theme], Any]
    query: Path
    title: str
    say: Callable[[list[Row]], str]
    columns: dict[str, str]
    prepare: Callable[[list[Row]], list[Row]] = lambda rows: rows

    @property
    def sql(self) -> str:
        """Return the text of the query."""
        return self.query.read_text()

    def table(self, rows: list[Row]) -> Table:
        """Return the rows as a table with titled columns."""
        return Table(tuple(self.columns.values()), [tuple(row[name] for name in self.columns) for row in rows])


def load_boards(folder: Path) -> tuple[Board, ...]:
    """Return `BOARDS` of the file `boards.py` in a project's folder of dashboards.

    Raises:
        SettingsError: the file does not exist.
    """
    if not (folder / "boards.py").exists():
        raise SettingsError(f"{folder}/boards.py does not exist; it lists the dashboards as BOARDS")
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = [str(folder)]
        sys.modules[PACKAGE] = package
    return tuple(import_module(f"{PACKAGE}.boards").BOARDS)
