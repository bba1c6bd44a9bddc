"""Data Docs of Great Expectations in, pages without requests to other servers out."""

import re
from pathlib import Path

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
    write_style(site)


def write_style(site: Path) -> None:
    """Write the style sheet of all pages of a site."""
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
