"""The dashboards in headless Chromium, served from the bucket, in both themes and on a phone."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from playwright.sync_api import Browser

from local.demo.airport_ops.expected import expected_marts
from millrace.dashboards.draw import draw
from millrace.domain import names
from tasks.model.site import upload_site
from tests.conftest import new_lake
from tests.support.browser import browser as a_browser
from tests.support.browser import opened
from tests.unit.test_dashboards import BOARDS, published

pytestmark = [pytest.mark.demo, pytest.mark.chromium]
FLIGHTS = 60
READABLE = 4.5  # https://www.w3.org/TR/WCAG22/#contrast-minimum
PICTURES = "[...document.images].map(i => [i.currentSrc, i.naturalWidth, i.alt])"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as running_browser:
        yield running_browser


@pytest.fixture(scope="module")
def url(browser: Browser, storage_port: int, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of the page on the storage server."""
    folder, lake, marts = tmp_path_factory.mktemp("dashboards"), new_lake(storage_port), expected_marts(1)
    flown = [flight for flight in marts["fct_flights"] if flight["departed_at"]]
    tables = marts | {"fct_flights": flown[:FLIGHTS]}
    draw(published(tmp_path_factory.mktemp("marts") / "published.duckdb", tables), folder, datetime.now(UTC))
    upload_site(lake, folder, "dashboards")
    return lake.address(f"{names.SITE}dashboards/index.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_shows_every_chart_in_readers_theme(browser: Browser, url: str, scheme: str) -> None:
    with opened(browser, url, scheme=scheme) as page:
        pictures = page.page.evaluate(PICTURES)
        folder = url.removesuffix("index.html")
        assert [picture[0] for picture in pictures] == [f"{folder}{board.name}.{scheme}.svg" for board in BOARDS]
        assert [picture for picture in pictures if picture[1] < 400 or len(picture[2]) < 40] == []
        assert [request for request in page.requests if not request.startswith((folder, "data:"))] == []
        assert page.errors == []
        contrasts = page.contrasts()
        assert {text: ratio for text, ratio in contrasts.items() if ratio < READABLE} == {}
        assert len(contrasts) > 15


def test_chart_data_and_query_are_one_click_away(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        links = page.page.eval_on_selector_all(".data a", "found => found.map(a => a.href)")
        assert len(links) == 3 * len(BOARDS)
        assert [link for link in links if httpx.get(link).status_code != 200] == []
        page.page.locator("#board summary").click()
        shown = page.page.locator("#board tbody tr").count()
    rows = httpx.get(url.replace("index.html", "board.json")).json()
    assert shown == len(rows) == FLIGHTS


@pytest.mark.parametrize("width", [390, 320])
def test_page_fits_a_phone(browser: Browser, url: str, width: int) -> None:
    with opened(browser, url, width=width) as page:
        assert not page.is_wider_than_the_window()
        pictures = page.page.evaluate(PICTURES)
        assert [p for p in pictures if not p[0].endswith(".narrow.svg")] == [], "a phone gets narrow pictures"
        widths = page.page.evaluate("[...document.images].map(i => i.clientWidth / i.naturalWidth)")
        assert min(widths) > 0.75, "their letters stay readable"
