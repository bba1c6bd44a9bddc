"""Data Docs of Great Expectations in, pages without requests to other servers out, and an index of all results."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from millrace.domain.quality import QUARANTINE, STOP, QualityResult

STYLE = "quality.css"
SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE)
INLINE_STYLE = re.compile(r"<style\b.*?</style>", re.DOTALL | re.IGNORECASE)
OUTSIDE = re.compile(r"<(?:link|img)\b[^>]*?(?:href|src)=[\"'](?:https?:)?//[^>]*>", re.IGNORECASE)
ICON = re.compile(r"<link\b[^>]*static/images[^>]*>", re.IGNORECASE)
ACTIONS = re.compile(
    r'<div class="card mb-3">(?:(?!<div class="card ).)*<strong>Actions</strong>.*?(?=<div class="card )', re.DOTALL
)
FOOTER = re.compile(r"<footer\b.*?</footer>", re.DOTALL | re.IGNORECASE)


def tidy(site: Path) -> None:
    """Make a folder of Data Docs self-contained: remove scripts, fonts and pictures of other servers."""
    for page in site.rglob("*.html"):
        page.write_text(_self_contained(page.read_text(), "../" * (len(page.relative_to(site).parts) - 1)))
    for leftover in sorted((site / "static").rglob("*"), reverse=True):
        leftover.rmdir() if leftover.is_dir() else leftover.unlink()
    (site / "static").rmdir()
    (site / STYLE).write_text(Path(__file__).with_name("docs.css").read_text())


def _self_contained(html: str, up: str) -> str:
    for pattern in (SCRIPT, INLINE_STYLE, OUTSIDE, ICON, FOOTER, ACTIONS):
        html = pattern.sub("", html)
    html = html.replace("__none__ / ", "")
    return html.replace("</head>", f'<link rel="stylesheet" href="{up}{STYLE}"></head>', 1)


def pages(site: Path) -> dict[str, str]:
    """Return the newest page of results of each table."""
    return {
        page.parts[1]: page.as_posix()
        for page in sorted(p.relative_to(site) for p in site.glob("validations/*/*/*/*.html"))
    }


FAILED = {STOP: ("fails", "bad"), QUARANTINE: ("quarantined", "warn")}


def index(results: Sequence[QualityResult], pages: Mapping[str, str]) -> str:
    """Return the index page: all expectations of all tables, failures first; `pages` maps tables to their own pages."""
    held, tables = sum(r.success for r in results), len({r.suite for r in results})
    is_stopped = any(not r.success and r.severity == STOP for r in results)
    verdict = '<b class="bad">failed: the marts were not replaced</b>' if is_stopped else '<b class="good">passed</b>'
    ordered = sorted(results, key=lambda r: (r.success, r.suite))
    rows = "".join(_row(result, pages.get(result.suite, "")) for result in ordered)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data quality · Millrace</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="stylesheet" href="{STYLE}"></head><body><h1>Data quality</h1>'
        f"<p>{held} of {len(results)} expectations on {tables} tables hold; {verdict}</p>"
        '<div class="scroll"><table><tr><th>result<th>table<th>column<th>expectation'
        "<th>observed value, or failing rows<th>samples</tr>"
        f"{rows}</table></div></body></html>"
    )


def _row(result: QualityResult, page: str) -> str:
    name, kind = ("holds", "good") if result.success else FAILED.get(result.severity, ("warns", "warn"))
    table = f'<a href="{escape(page)}">{escape(result.suite)}</a>' if page else escape(result.suite)
    expectation = result.expectation.removeprefix("expect_").replace("_", " ")
    return (
        f'<tr><td><b class="{kind}">{name}</b><td>{table}<td><code>{escape(result.column)}</code>'
        f"<td>{escape(expectation)}<td>{escape(result.observed)}<td>{escape(', '.join(result.sample))}</tr>"
    )
