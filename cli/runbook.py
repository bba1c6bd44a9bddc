"""The operations docs in; the section of an alert, or the table row of an error, out."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from millrace.domain.errors import SettingsError

HEADING = re.compile(r"^(#+) (.+?)\s*$", re.MULTILINE)
ROW = re.compile(r"^\| `(\w+)` \|.*$", re.MULTILINE)
ALERT = re.compile(r"(?:Millrace(?: watchdog)?|Cloud): ")
EVENT = re.compile(r"`([a-z_]+\.[a-z_]+)`")  # the name of an event, or the reason of a quarantine
STREAM = re.compile(r"\b\w+\.\w+\b")  # the name of an alert that each stream has
MART = re.compile(r"\b\w+ is late$")  # the name of an alert that each mart with a promise has
CHANNEL = re.compile(r" \([\w-]+\)$")  # the end of the name of an alert that goes to a team
DIVIDER = re.compile(r"^\|[\s:|-]+\|$")


def pages(root: Path) -> list[Path]:
    """Return the pages of the operations docs. Raises SettingsError when there are none."""
    single = root / "docs" / "operations.md"
    files = [*([single] if single.exists() else []), *sorted((root / "docs" / "operations").glob("*.md"))]
    if not files:
        raise SettingsError(f"{root} has no operations docs (docs/operations/*.md); run this in a checkout")
    return files


def entries(root: Path) -> dict[str, str]:
    """Return the text of each alert and error, by name, in the order of the docs."""
    texts: dict[str, str] = {}
    for page in pages(root):
        text = page.read_text()
        for name, section in (*_alerts(text), *_errors(text)):
            texts.setdefault(name, section)
    return texts


def _alerts(text: str) -> Iterator[tuple[str, str]]:
    headings = list(HEADING.finditer(text))
    for index, heading in enumerate(headings):
        if ALERT.match(heading[2]):
            level = len(heading[1])
            ends = (later.start() for later in headings[index + 1 :] if len(later[1]) <= level)
            yield heading[2], text[heading.start() : next(ends, len(text))].strip()


def _errors(text: str) -> Iterator[tuple[str, str]]:
    lines = text.splitlines()
    columns: list[str] = []
    for number, line in enumerate(lines):
        if DIVIDER.match(line) and number:
            columns = _cells(lines[number - 1])
        elif (match := ROW.match(line)) and match[1][0].isupper():
            cells = _cells(line)
            facts = [f"{column}: {cell}" for column, cell in zip(columns[1:], cells[1:], strict=False)]
            yield match[1], "\n".join([match[1], *facts])


def _cells(row: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def explain(root: Path, name: str) -> tuple[str, str]:
    """Return full name and text of an alert or error, or of the alert that explains an event or a quarantine's reason;
    names may leave out `Millrace:`, case and punctuation.

    Raises:
        SettingsError: nothing has that name; names those that are similar.
    """
    texts = entries(root)
    if name in texts:
        return name, texts[name]
    by_key = {_key(full): full for full in reversed(texts)}  # of equal keys the first counts
    general = MART.sub("a mart is late", STREAM.sub("a stream", CHANNEL.sub("", name)))
    if full := by_key.get(_key(name)) or by_key.get(_key(general)):
        return full, texts[full]
    for full, text in texts.items():
        if name in EVENT.findall(text):
            return full, text
    near = [by_key[key] for key in get_close_matches(_key(name), by_key, n=3, cutoff=0.4)]
    hint = f"; did you mean {' or '.join(repr(match) for match in near)}?" if near else ""
    raise SettingsError(f"no alert or error is named {name!r}{hint}; `millrace explain` lists all")


def _key(name: str) -> str:
    short = ALERT.sub("", name, count=1)
    return re.sub(r"[^a-z0-9]", "", short.lower())
