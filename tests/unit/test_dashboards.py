"""The dashboards: figures of the marts, a page without requests, and empty marts."""

import csv
import json
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import duckdb
import pyarrow as pa
import pytest

from local.demo.airport_ops.expected import Row, expected_marts
from millrace.dashboards.boards import Board, load_boards
from millrace.dashboards.draw import draw
from millrace.dashboards.looker import report_link
from millrace.dashboards.style import THEMES, Theme
from millrace.domain.errors import SettingsError
from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.engines import open_marts
from millrace.warehouse.reader import Read
from tests.support.servers import ROOT

pytestmark = pytest.mark.demo

READABLE, VISIBLE = 4.5, 3.0  # of words, of marks
BOARDS = [board for board in load_boards(ROOT / "dashboards") if isinstance(board, Board)]
DAYS, AT = 2, datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def marts() -> dict[str, list[Row]]:
    """The marts after some days, computed from the original data."""
    return expected_marts(DAYS)


def marts_at(url: str) -> Read:
    """A reader of the marts at a URL."""
    return open_marts(WarehouseSettings(url="duckdb:///unused", marts_url=url))


def published(file: Path, marts: dict[str, list[Row]], *, rows: bool = True) -> Read:
    """Marts as they are published, or their tables without a row."""
    with duckdb.connect(str(file)) as db:
        db.execute("CREATE SCHEMA marts")
        for name, content in marts.items():
            db.register("given", pa.Table.from_pylist(content))
            db.execute(f"CREATE TABLE marts.{name} AS FROM given {'' if rows else 'LIMIT 0'}")
            db.unregister("given")
    return marts_at(f"duckdb:///{file}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, marts: dict[str, list[Row]]) -> Path:
    """The folder with everything drawn."""
    folder = tmp_path_factory.mktemp("site")
    draw(published(folder / "published.duckdb", marts), folder, AT)
    return folder


def data(site: Path, name: str) -> list[Row]:
    return list(json.loads((site / f"{name}.json").read_text()))


def test_airline_shares_match_single_flights(site: Path, marts: dict[str, list[Row]]) -> None:
    shares = {row["carrier"]: (row["landed"], row["late_arrivals"]) for row in data(site, "punctuality")}
    landed = [flight for flight in marts["fct_flights"] if flight["status"] == "landed"]
    expected = {
        carrier: (len(own), sum(flight["arr_delay"] > 15 for flight in own))
        for carrier in {flight["carrier"] for flight in landed}
        if (own := [flight for flight in landed if flight["carrier"] == carrier])
    }
    assert shares == expected
    assert [row["late_share"] for row in data(site, "punctuality")] == sorted(
        (late / count for count, late in expected.values()), reverse=True
    )


def test_worst_routes_have_the_longest_delays(site: Path, marts: dict[str, list[Row]]) -> None:
    frequent = [row for row in marts["route_delays"] if row["landed"] >= 5]
    worst = sorted(frequent, key=lambda row: (-row["avg_arr_delay"], row["origin"], row["dest"]))[:15]
    assert [(r["origin"], r["dest"]) for r in data(site, "routes")] == [(r["origin"], r["dest"]) for r in worst]


def test_board_has_all_flights_of_the_newest_day(site: Path, marts: dict[str, list[Row]]) -> None:
    newest = max(flight["flight_date"] for flight in marts["fct_flights"] if flight["departed_at"])
    expected = {(f["carrier"], f["flight"], f["origin"]) for f in marts["fct_flights"] if f["flight_date"] == newest}
    flights = data(site, "board")
    assert {(f["carrier"], f["flight"], f["origin"]) for f in flights} == expected
    assert len(flights) == len(expected)
    assert {f["flight_date"] for f in flights} == {newest.isoformat()}
    (first, *_) = sorted(
        (f for f in marts["fct_flights"] if f["flight_date"] == newest), key=lambda f: f["scheduled_departure"]
    )
    new_york = first["scheduled_departure"] - timedelta(hours=5)
    assert flights[0]["scheduled_departure"] == new_york.replace(tzinfo=None).isoformat()


@pytest.mark.parametrize("name", [board.name for board in BOARDS])
def test_chart_has_both_themes_data_and_query(site: Path, name: str) -> None:
    rows = data(site, name)
    with (site / f"{name}.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows) > 0
    (board,) = [board for board in BOARDS if board.name == name]
    assert (site / f"{name}.sql").read_text() == board.sql
    pictures = {theme: (site / f"{name}.{theme}.svg").read_text() for theme in ("light", "dark", "light.narrow")}
    assert pictures["light"] != pictures["dark"]
    for picture in pictures.values():
        words = "".join(ET.fromstring(picture).itertext())
        assert len(words) > 20
    page = (site / "index.html").read_text()
    assert f'srcset="{name}.dark.svg"' in page
    assert f"The data as a table, {len(rows):,} rows" in page


def test_picture_shows_the_figures_of_its_data(site: Path) -> None:
    words = list(ET.fromstring((site / "punctuality.light.svg").read_text()).itertext())
    for row in data(site, "punctuality"):
        assert f"{row['late_share']:.0%} of {row['landed']:,}" in words
        assert row["airline"] in words


def test_page_is_self_contained(site: Path) -> None:
    for file in site.glob("*.*"):
        if file.suffix in (".html", ".svg"):
            text = re.sub(r'xmlns(:xlink)?="[^"]+"', "", file.read_text())
            assert re.findall(r"https?://|url\((?![\"']?#)|@import|<script", text) == [], file.name
    page = (site / "index.html").read_text()
    for name in re.findall(r'(?:src|srcset|href)="([^"#:]+)"', page):
        assert name.startswith("../") or (site / name).exists(), name


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_chart_text_and_marks_have_contrast(theme: Theme) -> None:
    words = {theme.text, theme.soft}
    marks = set(theme.palette.values())
    assert {colour for colour in words if contrast(colour, theme.background) < READABLE} == set()
    assert {colour for colour in marks if contrast(colour, theme.background) < VISIBLE} == set()


def contrast(first: str, second: str) -> float:
    """Ratio of two colours: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_empty_marts_are_shown_as_empty(tmp_path: Path, marts: dict[str, list[Row]]) -> None:
    shown = draw(published(tmp_path / "p.duckdb", marts, rows=False), tmp_path, AT)
    assert [(c.name, c.rows, c.error) for c in shown] == [(b.name, 0, "") for b in BOARDS]
    assert (tmp_path / "index.html").read_text().count("no rows for this chart yet") == len(BOARDS)
    assert list(tmp_path.glob("*.svg")) == []


def test_missing_marts_are_named_by_every_chart(tmp_path: Path) -> None:
    charts = draw(marts_at(f"duckdb:///{tmp_path}/none.duckdb"), tmp_path, AT)
    assert [chart for chart in charts if "nothing is published at" not in chart.error] == []
    assert not (tmp_path / "none.duckdb").exists()
    with pytest.raises(SettingsError, match=r"marts_url is 'sqlite:///a'; expected duckdb:///<file> or bigquery://"):
        marts_at("sqlite:///a")


def test_looker_studio_gets_the_same_queries() -> None:
    query = parse_qs(urlsplit(report_link("bigquery://my-project/marts")).query)
    assert query["r.reportName"] == ["Millrace"]
    for place, board in enumerate(BOARDS):
        (sql,) = query[f"ds.ds{place}.sql"]
        assert sql.replace("`my-project`.`marts`.", "marts.") == board.sql
        assert "`my-project`.`marts`." in sql
        assert query[f"ds.ds{place}.projectId"] == ["my-project"]
    with pytest.raises(SettingsError, match="Looker Studio reads BigQuery"):
        report_link("duckdb:///a")


def test_docs_page_shows_the_same_queries() -> None:
    shown = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "dashboards.md").read_text(), re.S)
    assert shown == [board.sql for board in BOARDS]
