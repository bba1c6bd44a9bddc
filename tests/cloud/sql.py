"""SQL of a query in; the datasets and the number of tables that it names out."""

import re
from collections.abc import Iterable, Iterator

from tests.cloud.names import run_of

HIDDEN = re.compile(
    r"'''.*?'''|\"\"\".*?\"\"\"|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|--[^\n]*|#[^\n]*|/\*.*?\*/", re.S
)
PART = r"(?:`[^`]+`|[A-Za-z_]\w*)"
PATH = re.compile(rf"{PART}(?:\s*\.\s*{PART})+|`[^`]*\.[^`]*`")


def paths(sql: str) -> Iterator[list[str]]:
    """Yield the parts of each name with a dot in it, outside of texts and comments."""
    for match in PATH.finditer(HIDDEN.sub(" ", sql)):
        yield [part.strip() for part in match[0].replace("`", "").split(".")]


def tables(sql: str) -> int:
    """Return how many tables of runs a query names."""
    return len({tuple(parts) for parts in paths(sql) if any(run_of(part) for part in parts)})


def foreign_names(sql: str, project: str, datasets: Iterable[str]) -> list[str]:
    """Return the datasets in a query that are not a run's; `datasets` are those that the project has.

    A name that begins with the project has a dataset next; any other name has one first, or is that of a column.
    """
    others = set(datasets)
    named = [parts[1] if parts[0] == project else parts[0] for parts in paths(sql) if len(parts) > 1]
    qualified = {parts[1] for parts in paths(sql) if parts[0] == project and len(parts) > 1}
    qualified = {name for name in qualified if not name.startswith("region-")}
    return sorted(name for name in dict.fromkeys(named) if not run_of(name) and name in others | qualified)
