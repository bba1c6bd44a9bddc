"""Headless Chromium for tests: the system's own, driven by Playwright; tests are skipped without it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]  # it opens pages of our own only
CONTRAST = Path(__file__).with_name("contrast.js").read_text()


def chromium() -> str:
    """Return the path of the system's Chromium, '' if it is not installed."""
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
    """A page with its requests and its errors."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def contrasts(self) -> dict[str, float]:
        """Return the contrast ratio of each visible text with its background, the least of repeated texts."""
        ratios: list[list[Any]] = self.page.evaluate(CONTRAST)
        return {text: min(ratio for other, ratio in ratios if other == text) for text, _ in ratios}

    def is_wider_than_the_window(self) -> bool:
        """True when the page is wider than the window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


@contextmanager
def opened(
    browser: Browser, url: str, *, scheme: Any = "light", width: int = 1280, clock: datetime | None = None
) -> Iterator[Opened]:
    """A page at a width in CSS pixels, by this clock; all that it asks for and complains of is kept."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    try:
        page = Opened(context.new_page())
        page.page.on("request", lambda request: page.requests.append(request.url))
        page.page.on("console", lambda message: page.errors.append(message.text))
        page.page.on("pageerror", lambda error: page.errors.append(str(error)))
        if clock:
            page.page.clock.install(time=clock)
        page.page.goto(url)
        yield page
    finally:
        context.close()
