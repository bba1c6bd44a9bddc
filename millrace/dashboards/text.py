"""A sentence with columns in braces and rows in; the sentence with their values out."""

import re
from collections.abc import Sequence

from millrace.dashboards.boards import Board
from millrace.dashboards.formats import Row, shown
from millrace.domain.errors import SettingsError

BRACES = re.compile(r"\{\s*(?:(first|last)\.)?([A-Za-z_][A-Za-z0-9_]*)\s*\}")


def fill(text: str, board: Board, rows: Sequence[Row]) -> str:
    """Return the text with `{column}` of the first row, `{last.column}` of the last one, and `{rows}`, their number.

    Raises:
        SettingsError: the rows have no such column.
    """

    def value(match: re.Match[str]) -> str:
        which, name = match.groups()
        row = rows[-1 if which == "last" else 0]
        if name == "rows" and name not in row:
            return f"{len(rows):,}"
        if name not in row:
            raise SettingsError(f"the text names {{{name}}}, and the query returns {', '.join(row)}")
        return shown(row[name], board.format.get(name, ""), board.zone)

    return BRACES.sub(value, text)
