"""Headless Chromium for tests: the system's own, driven by Playwright; a printed skip where there is none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]  # it opens pages of our own only
CONTRAST = Path(__file__).with_name("contrast.js").read_text()


def chromium() -> str:
    """Path of the system's Chromium; '' where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), "")


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, ended with its processes."""
    path = chromium()
    if not path:
        pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield started
        finally:
            started.close()


@dataclass
class Opened:
    """A page with what it asked for, and what it complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def contrasts(self) -> dict[str, float]:
        """Contrast ratio of each visible text with what is behind it, the least where a text stands twice."""
        found: list[list[Any]] = self.page.evaluate(CONTRAST)
        return {text: min(ratio for other, ratio in found if other == text) for text, _ in found}

    def is_wider_than_the_window(self) -> bool:
        """Whether people must scroll sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


@contextmanager
def opened(browser: Browser, url: str, *, scheme: Any = "light", width: int = 1280) -> Iterator[Opened]:
    """A page at a width in CSS pixels; all that it asks for and complains of is kept."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    try:
        found = Opened(context.new_page())
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.on("console", lambda message: found.complaints.append(message.text))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.goto(url)
        yield found
    finally:
        context.close()
