"""The status as a page: all text is escaped, links resolve, and one bad row of a million is visible."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from millrace.domain.batch import Balance
from millrace.domain.quality import QualityFact, QualityResult
from millrace.lake.store import Lake
from millrace.project import CODE
from millrace.status.page import render
from tests.conftest import new_lake
from tests.support.merging import NOON
from tests.support.shop_status import UI, ShopStatus, merge_some, merged_shop, new_shop, run

ATTACK = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


@pytest.fixture
def shop(lake: Lake, tmp_path: Path) -> ShopStatus:
    return new_shop(lake, tmp_path)


@pytest.fixture(scope="module")
def merged(storage_port: int, tmp_path_factory: pytest.TempPathFactory) -> ShopStatus:
    return merged_shop(new_lake(storage_port), tmp_path_factory.mktemp("status"))


class Tags(HTMLParser):
    """A page's elements, attributes and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.addresses.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def test_page_escapes_all_data(shop: ShopStatus) -> None:
    merge_some(shop.merging)
    shop.merging.query("SELECT 1")
    fact = QualityResult(
        suite=ATTACK, expectation=ATTACK, column=ATTACK, success=False, observed=ATTACK, sample=(ATTACK,)
    )
    shop.merging.warehouse.record_quality(
        [QualityFact(at=NOON, by="model", run_id=ATTACK, candidate=ATTACK, result=fact)]
    )
    shop.runs = [
        run(state="FAILED", message=f"exception: FileRejected: {ATTACK}", number=3),
        run(f"{ATTACK} x", flow="merge", number=4, id=ATTACK),
    ]
    page = render(shop.status())
    tags = Tags(page)
    assert tags.tags.isdisjoint({"img", "iframe", "object"})
    assert page.count("<script") == 1, "the script of the age"
    assert tags.handlers == []
    assert "&lt;script&gt;alert(1)" in page
    assert all(a.startswith(("#", "data:,", UI)) for a in tags.addresses), tags.addresses


def test_page_links_resolve_and_ids_are_unique(merged: ShopStatus) -> None:
    tags = Tags(render(replace(merged, dbt_project=CODE / "dbt_project").status()))
    assert [a for a in tags.addresses if a.startswith("#") and a[1:] not in tags.ids] == []
    assert len(tags.ids) == len(set(tags.ids))


def test_balance_bar_shows_a_single_bad_row() -> None:
    from millrace.status.pictures import balance_bar

    bar = balance_bar(Balance(rows_in=1_000_001, merged=1_000_000, superseded=0, stale=0, quarantined=1))
    widths: dict[str, Any] = {
        part.split('"')[0]: float(part.split('width="')[1].split('"')[0])
        for part in str(bar).split('<rect class="')[1:]
    }
    assert widths["quarantined"] > 1
    assert sum(widths.values()) == pytest.approx(100, abs=0.1)
