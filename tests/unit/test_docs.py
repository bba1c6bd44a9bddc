"""The documentation names only what exists, and leaves out no alert and no error."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tests.support.servers import ROOT

PAGES = [path for path in (*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md") if path.exists()]
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
MODULE = re.compile(r"\bpython3? -m ([A-Za-z_][\w.]*\w)")
TARGET = re.compile(r"(?:^|[`;&|(] ?)make ([a-z][a-z-]*)", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FILE = re.compile(r"`([\w./-]+/[\w./-]+\.\w+|[\w-]+\.ya?ml)`")

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def named(pattern: re.Pattern[str], path: Path) -> set[str]:
    """What a page's code says."""
    return {found for code in CODE.findall(path.read_text()) for found in pattern.findall(code)}


def anchors(path: Path) -> set[str]:
    """Headings of a page as links name them."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(path.read_text()))
    return {heading.strip().replace(" ", "-") for heading in kept}


def steps() -> Iterator[str]:
    section = (ROOT / "docs" / "architecture.md").read_text().split("## Steps")[1].split("\n## ")[0]
    yield from (line for line in section.splitlines() if re.match(r"\| \d+ ", line))


def test_every_step_of_the_architecture_names_files_that_exist() -> None:
    rows = list(steps())
    assert len(rows) > 10
    for row in rows:
        files = FILE.findall(row)
        assert files, row
        assert [file for file in files if not (ROOT / file).exists()] == []


def test_every_automation_has_its_place_in_operations() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    automations = [yaml.safe_load(path.read_text())["name"] for path in (ROOT / "automations").glob("*.yaml")]
    assert automations
    assert [name for name in automations if f"\n### {name}\n" not in text] == []


def test_every_alert_links_to_a_place_in_operations() -> None:
    told = {path: path.read_text() for path in (ROOT / "automations").rglob("*.yaml")}
    links = {path: re.findall(r"\$\{runbook\}#([\w-]+)", text) for path, text in told.items()}
    there = anchors(ROOT / "docs" / "operations.md")
    assert [link for found in links.values() for link in found if link not in there] == []
    good_news = {"marts_published", "quality_recovered", "run_recovered", "stream_fresh", "stuck_runs", "zombie_runs"}
    assert {path.stem for path, found in links.items() if not found} == good_news


def test_every_named_error_has_its_place_in_operations() -> None:
    from millrace.domain import errors

    text = (ROOT / "docs" / "operations.md").read_text()
    groups = ("MillraceError", "Retryable", "Fatal", "DataQuality")
    named_errors = [name for name, kind in vars(errors).items() if isinstance(kind, type) and name not in groups]
    assert named_errors
    assert [name for name in named_errors if f"\n| `{name}` |" not in text] == []


@page
def test_every_module_that_a_page_runs_exists(path: Path) -> None:
    assert [module for module in sorted(named(MODULE, path)) if find_spec(module) is None] == []


@page
def test_every_target_that_a_page_makes_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named(TARGET, path) - targets == set()


@page
def test_every_link_of_a_page_leads_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
