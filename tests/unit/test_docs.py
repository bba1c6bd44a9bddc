"""The documentation names only files, commands, modules and links that exist, and covers all alerts and errors."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperCommand, TyperGroup

from cli.errors import StackDown
from cli.main import app
from millrace.domain import errors
from tests.support.servers import ROOT

DOCS = ROOT / "docs"
OPERATIONS = DOCS / "operations"
PAGES = [
    *sorted(DOCS.rglob("*.md")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "k8s").rglob("README.md")),
]
CODE = re.compile(r"^ *```.*?^ *```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
MODULE = re.compile(r"\bpython3? -m ([A-Za-z_][\w.]*\w)")
TARGET = re.compile(r"(?:^|[`;&|(] ?)make ([a-z][a-z-]*)", re.MULTILINE)
COMMAND = re.compile(r"(?:^ *(?:\$ )?|[`;&|(] ?|/bin/)millrace ([^`\n;|&>]+)", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FILE = re.compile(r"`([\w./-]+/[\w./-]+\.\w+|[\w-]+\.ya?ml)`")
ROW = re.compile(r"^\| `(\w+)`", re.MULTILINE)
WRITTEN = re.compile(r"^`([\w./-]+)`:\n\n```", re.MULTILINE)
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
MAX_ARCHITECTURE_LINES = 120
MAX_TERMS = 40
STEPS = 15

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def named(pattern: re.Pattern[str], path: Path) -> set[str]:
    """Return the matches of a pattern in the code of a page."""
    return {match for code in CODE.findall(path.read_text()) for match in pattern.findall(code)}


def anchors(path: Path) -> set[str]:
    """Return the headings of a page as links name them."""
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(path.read_text()))
    return {heading.strip().replace(" ", "-") for heading in headings}


def steps() -> list[str]:
    section = (DOCS / "architecture.md").read_text().split("## Steps")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if re.match(r"\| \d", line)]


def test_architecture_is_short() -> None:
    assert len((DOCS / "architecture.md").read_text().splitlines()) <= MAX_ARCHITECTURE_LINES


@pytest.mark.demo
def test_steps_are_ordered_and_name_files() -> None:
    rows = steps()
    assert [re.match(r"\| (\w+) ", row)[1] for row in rows] == [str(n + 1) for n in range(STEPS)]
    for row in rows:
        files = FILE.findall(row)
        assert files, row
        assert [file for file in files if not (ROOT / file).exists()] == []


def test_glossary_is_short_and_unambiguous() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    terms = [row for row in rows if row not in ("noun", "term")]
    assert 12 < len(terms) <= MAX_TERMS
    assert len(terms) == len(set(terms))


def test_decisions_are_numbered_and_indexed() -> None:
    files = sorted(path for path in (DOCS / "decisions").glob("*.md") if path.name != "README.md")
    assert [path.name[:4] for path in files] == [f"{n + 1:04}" for n in range(len(files))]
    titles = {path: path.read_text().splitlines()[0] for path in files}
    assert [title for path, title in titles.items() if not title.startswith(f"# {path.name[:4]}: ")] == []
    rows = re.findall(r"^\| \[(\d{4})\]\(([\w.-]+)\) \| (.+) \|$", (DOCS / "decisions" / "README.md").read_text(), re.M)
    assert rows == [(path.name[:4], path.name, title.split(": ", 1)[1]) for path, title in titles.items()]


def test_operations_are_indexed() -> None:
    links = LINK.findall((OPERATIONS / "README.md").read_text())
    assert {path.name for path in OPERATIONS.glob("*.md")} - {"README.md", *links} == set()


def test_every_automation_has_a_section() -> None:
    text = (OPERATIONS / "alerts.md").read_text()
    automations = [yaml.safe_load(path.read_text())["name"] for path in (ROOT / "automations").glob("*.yaml")]
    assert automations
    assert [name for name in automations if f"\n### {name}\n" not in text] == []


def test_every_alert_links_to_a_section() -> None:
    texts = {path: path.read_text() for path in (ROOT / "automations").rglob("*.yaml")}
    links = {path: re.findall(r"\$\{runbook\}#([\w-]+)", text) for path, text in texts.items()}
    sections = anchors(OPERATIONS / "alerts.md")
    assert [link for targets in links.values() for link in targets if link not in sections] == []
    without_action = {
        "marts_published",
        "quality_recovered",
        "run_recovered",
        "stream_fresh",
        "stuck_runs",
        "zombie_runs",
    }
    assert {path.stem for path, targets in links.items() if not targets} == without_action


def test_every_error_has_one_row_in_order() -> None:
    groups = ("MillraceError", "Retryable", "Fatal", "DataQuality")
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and name not in groups}
    rows = ROW.findall((OPERATIONS / "errors.md").read_text())
    assert kinds | {StackDown.__name__} <= set(rows)
    assert rows == sorted(set(rows))


@page
@pytest.mark.demo
def test_every_named_file_exists(path: Path) -> None:
    text = path.read_text()
    files = {file for file in FILE.findall(text) if file.split("/")[0] in FOLDERS} - set(WRITTEN.findall(text))
    assert [file for file in sorted(files) if not (ROOT / file).exists()] == []


@page
def test_every_module_that_a_page_runs_exists(path: Path) -> None:
    assert [module for module in sorted(named(MODULE, path)) if find_spec(module) is None] == []


@page
def test_every_make_target_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named(TARGET, path) - targets == set()


def unknown_words(command: TyperCommand | TyperGroup, words: list[str]) -> Iterator[str]:
    """Yield the subcommand or the options of a command line that the command does not have."""
    options = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    while words:
        word = words.pop(0)
        if word.startswith("-") and word != "-":
            option = options.get(word.split("=")[0])
            if option is None and word not in ("--help", "--install-completion"):
                yield word
            if option is not None and "=" not in word and not getattr(option, "is_flag", False):
                words[:1] = []
        elif isinstance(command, TyperGroup) and re.fullmatch(r"[a-z][a-z-]*", word):
            if word not in command.commands:
                yield word
            else:
                yield from unknown_words(command.commands[word], words)
            return


@page
def test_every_command_and_its_options_exist(path: Path) -> None:
    root = typer.main.get_command(app)
    lines = sorted(named(COMMAND, path))
    unknown = {line: list(unknown_words(root, line.split())) for line in lines}
    assert {line: words for line, words in unknown.items() if words} == {}


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.demo
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
