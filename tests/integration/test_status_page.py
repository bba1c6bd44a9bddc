"""The status page in headless Chromium, served from the bucket, by mouse, keyboard and phone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Browser

from beam_job.batches import Limits
from millrace.domain import names
from millrace.domain.ledger import EVER
from millrace.status.collect import collect
from millrace.status.prefect_runs import TaskDuration
from millrace.status.publish import publish_page
from tests.conftest import new_lake
from tests.support.browser import browser as a_browser
from tests.support.browser import opened
from tests.support.merging import NOON, Merging, contract
from tests.support.shop_status import NOW, ShopStatus, merge_some, run

pytestmark = pytest.mark.chromium
READABLE = 4.5  # https://www.w3.org/TR/WCAG22/#contrast-minimum
PHONE, SMALL_PHONE = 390, 320
MART = "orders_daily"
FOCUSED = """() => { const e = document.activeElement;
  return [e.tagName.toUpperCase(), e.getAttribute('href'), getComputedStyle(e).outlineStyle] }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as running:
        yield running


@pytest.fixture(scope="module")
def shop(storage_port: int, tmp_path_factory: pytest.TempPathFactory) -> ShopStatus:
    """Return two merged batches with a row in quarantine, one pending landing, a mart, and runs that failed."""
    folder = tmp_path_factory.mktemp("status")
    shop_status = ShopStatus(Merging(new_lake(storage_port), folder, contract(freshness="2h"), Limits()))
    merge_some(shop_status.merging)
    publish_a_mart(shop_status.merging, folder)
    failed = run("model", state="FAILED", message="exception: QualityFailed: a mart broke. Mend it", number=3)
    shop_status.runs = [
        run(number=4),
        failed,
        run(number=2),
        run("ingest shop", number=1, parameters={"source": "shop"}),
    ]
    shop_status.tasks = [TaskDuration(shop_status.runs[0].id, "commit batch", NOON, 0.4)]
    shop_status.dbt_project = folder / "dbt"
    model = shop_status.dbt_project / "models" / "marts" / f"{MART}.sql"
    model.parent.mkdir(parents=True)
    model.write_text("select * from {{ live_rows('shop', 'orders') }}")
    return shop_status


@pytest.fixture(scope="module")
def url(shop: ShopStatus) -> str:
    """Return the URL of the page on the storage server."""
    lake = shop.merging.lake
    publish_page(lake, lambda _: collect(shop.clients(), NOW), lambda: datetime.now(UTC))
    return lake.address(names.STATUS_PAGE)


def publish_a_mart(merging: Merging, folder: Path) -> None:
    merging.warehouse.begin_candidate("candidate_1", empty=True)
    with duckdb.connect(merging.warehouse.candidate_url("candidate_1").removeprefix("duckdb:///")) as db:
        db.execute(f"CREATE SCHEMA marts; CREATE TABLE marts.{MART} AS SELECT 1 AS id FROM range(1234)")
    merging.warehouse.publish("candidate_1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_self_contained_and_accessible(browser: Browser, url: str, scheme: str) -> None:
    with opened(browser, url, scheme=scheme) as page:
        assert page.requests == [url]
        assert page.errors == []
        contrasts = page.contrasts()
        assert {text: ratio for text, ratio in contrasts.items() if ratio < READABLE} == {}
        assert len(contrasts) > 40
        paper = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (scheme == "dark") == (paper == "rgb(13, 21, 26)")


@pytest.mark.parametrize(("minutes", "old"), [(3, False), (45, True)], ids=["fresh", "old"])
def test_page_tells_its_age(browser: Browser, url: str, minutes: int, old: bool) -> None:
    with opened(browser, url, clock=NOW + timedelta(minutes=minutes)) as page:
        assert page.errors == []
        assert f"UTC, {minutes} min ago" in page.page.locator("h1").inner_text()
        headline = page.page.locator("#headline").inner_text()
        assert ("out of date" in headline) == old
        assert ("Somebody should look" in headline or "broken" in headline) != old
        if old:
            assert "`millrace doctor`" in headline
            return
        page.page.clock.fast_forward("40:00")
        assert "out of date" in page.page.locator("#headline").inner_text()


def test_page_runs_no_other_script(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        page.page.evaluate("""() => { const s = document.createElement('script');
            s.textContent = 'document.title = "changed"'; document.body.append(s); }""")
        assert page.page.title() != "changed"


def test_page_figures_match_the_ledger(browser: Browser, url: str, shop: ShopStatus) -> None:
    terms = ("rows_in", "merged", "superseded", "stale", "quarantined")
    sums = shop.merging.query(f"SELECT {', '.join(f'sum({t})' for t in terms)} FROM ops.ledger WHERE kind = 'merged'")
    with opened(browser, url) as page:
        card = page.page.locator("[data-stream='shop.orders']")
        shown = [int(card.locator(f"[data-term={term}]").inner_text().replace(",", "")) for term in terms]
        assert [tuple(shown)] == sums
        assert page.page.locator(f"[data-mart={MART}]").inner_text() == "1,234"


def test_clicks_lead_from_a_mart_to_its_sync(browser: Browser, url: str, shop: ShopStatus) -> None:
    newest = shop.merging.warehouse.ledger(EVER, kinds=("merged",))[-1]
    with opened(browser, url) as page:
        for link in (MART, "shop.orders", newest.batch_id, "sync 3 of shop", newest.batch_id):
            page.page.locator("a:visible", has_text=link).first.click()
            assert not page.page.locator("#overview").is_visible()
            assert page.page.locator("section.detail:visible").count() == 1
        assert page.page.locator("section.detail:visible td", has_text="sync_id=3/0.parquet").is_visible()
        page.page.locator("nav a", has_text="Overview").click()
        assert page.page.locator("#overview").is_visible()
        assert page.errors == []


def test_keyboard_reaches_all_with_visible_focus(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        links = page.page.locator("a:visible").count()
        focused = set()
        for _ in range(links + 40):
            page.page.keyboard.press("Tab")
            tag, href, outline = page.page.evaluate(FOCUSED)
            if tag == "A":
                assert outline != "none", f"the focus on {href} is not seen"
            focused.add(href)
        hrefs = {link.get_attribute("href") for link in page.page.locator("a:visible").all()}
        assert hrefs - focused == set()
        page.page.locator("a:visible", has_text="shop.orders").first.focus()
        page.page.keyboard.press("Enter")
        assert page.page.locator("#stream-shop\\.orders").is_visible()


@pytest.mark.parametrize("width", [PHONE, SMALL_PHONE])
def test_phone_never_scrolls_sideways(browser: Browser, url: str, width: int) -> None:
    with opened(browser, url, width=width) as page:
        assert page.page.locator("svg.tall").is_visible()
        assert not page.page.locator("svg.wide").is_visible()
        assert not page.is_wider_than_the_window()
        for section in page.page.locator("section.detail").all():
            page.page.goto(f"{url}#{section.get_attribute('id')}")
            assert section.is_visible()
            assert not page.is_wider_than_the_window(), section.get_attribute("id")
