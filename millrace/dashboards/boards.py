"""A board of a project's dashboards, and how those of its folder `dashboards/` are loaded."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from millrace.dashboards.page import Row as Row
from millrace.dashboards.page import Table
from millrace.dashboards.style import Theme
from millrace.domain.errors import SettingsError

PACKAGE = "dashboards"


@dataclass(frozen=True)
class Board:
    """One chart over the rows of a query on `marts.<table>`.

    `draw` makes the chart, `prepare` readies its rows, `say` puts into a sentence what they show, and `columns` are
    those of the table beside it, with their titles.
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
        """Return the rows as people read them."""
        return Table(tuple(self.columns.values()), [tuple(row[name] for name in self.columns) for row in rows])


def load_boards(folder: Path) -> tuple[Board, ...]:
    """Return `BOARDS` of the file `boards.py` in a project's folder of dashboards.

    Raises:
        SettingsError: there is no such file.
    """
    if not (folder / "boards.py").exists():
        raise SettingsError(f"{folder}/boards.py does not exist; it lists the dashboards as BOARDS")
    if PACKAGE not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec:
            sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    return tuple(import_module(f"{PACKAGE}.boards").BOARDS)
