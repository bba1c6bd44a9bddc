"""The page of the local Airbyte in headless Chromium: readable on a phone and in the dark, and without a script."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from local.servers.airbyte.page import jobs_page
from tests.support.browser import browser as a_browser
from tests.support.browser import opened

pytestmark = pytest.mark.chromium
READABLE = 4.5  # https://www.w3.org/TR/WCAG22/#contrast-minimum
LONG = "connection to server at 127.0.0.1 failed: FATAL: password authentication failed for user " + "m" * 60
CONNECTIONS = [
    {"connectionId": "1", "name": "shop", "status": "active", "schedule": {"cronExpression": "0 0 * * * ? UTC"}},
    {"connectionId": "2", "name": "<b>depot", "status": "inactive"},
]
JOBS = [
    {"jobId": 2, "connectionId": "1", "status": "running", "startTime": "2026-01-01T12:00:00Z", "rowsSynced": 12500},
    {
        "jobId": 1,
        "connectionId": "gone",
        "status": "failed",
        "startTime": "2026-01-01T11:00:00Z",
        "rowsSynced": 0,
        "failureReason": LONG,
    },
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as running:
        yield running


@pytest.fixture
def url(tmp_path: Path) -> str:
    file = tmp_path / "airbyte.html"
    file.write_text(jobs_page(CONNECTIONS, JOBS))
    return file.as_uri()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_readable(browser: Browser, url: str, scheme: str, width: int) -> None:
    with opened(browser, url, scheme=scheme, width=width) as page:
        assert page.errors == []
        assert page.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert {text: ratio for text, ratio in page.contrasts().items() if ratio < READABLE} == {}
        paper = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (scheme == "dark") == (paper == "rgb(13, 21, 26)")


def test_page_names_schedule_status_and_reason(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        text = page.page.inner_text("body")
        assert [part for part in ("0 0 * * * ? UTC", "inactive", "12,500", LONG, "<b>depot") if part not in text] == []
        assert page.page.locator("b").count() == 0
