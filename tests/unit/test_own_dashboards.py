"""Dashboards that a user writes: all types of values, texts, and files or marts that are wrong or gone."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
import yaml

from millrace.dashboards.boards import BrokenBoard, load_boards
from millrace.dashboards.draw import draw
from millrace.dashboards.page import DrawnChart
from millrace.dashboards.watch import Watcher, server
from millrace.status.charts import chart_troubles
from tests.support.in_process import MemoryLake
from tests.unit.test_dashboards import marts_at

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
MANY = (
    "SELECT * FROM (VALUES (date '2026-01-01', 12.5000::DECIMAL(18,4), 'a'), ('2026-01-02', NULL, 'b'),"
    " ('2026-01-03', -1234.5, NULL)) t(day, amount, shop)"
)
Drawn = Callable[..., DrawnChart]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without a board, and marts with one table."""
    (tmp_path / "dashboards").mkdir()
    (tmp_path / "site").mkdir()
    monkeypatch.setenv("MILLRACE_PROJECT", str(tmp_path))
    with duckdb.connect(str(tmp_path / "p.duckdb")) as db:
        db.execute(f"CREATE SCHEMA marts; CREATE TABLE marts.sales AS {MANY}")
    return tmp_path


def write(project: Path, name: str, **board: Any) -> None:
    content = {"title": name.title(), "sql": "select * from marts.sales", **board}
    (project / "dashboards" / f"{name}.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture
def drawn(project: Path) -> Drawn:
    def one(**board: Any) -> DrawnChart:
        write(project, "one", **board)
        (chart,) = draw(marts_at(f"duckdb:///{project}/p.duckdb"), project / "site", AT)
        return chart

    return one


def words(project: Path, picture: str = "one.light.svg") -> list[str]:
    return list(ET.fromstring((project / "site" / picture).read_text()).itertext())


def test_bars_take_decimals_and_leave_nulls_out(project: Path, drawn: Drawn) -> None:
    chart = drawn(chart={"kind": "bar", "x": "amount", "y": "day"}, format={"amount": "€,.2f"})
    assert (chart.error, chart.rows, chart.note) == ("", 3, "1 of 3 rows is not drawn, without a value.")
    assert {"€12.50", "-€1,234.50", "2026-01-01"} <= set(words(project))
    assert {"€12.50", "2026-01-01"} <= set(words(project, "one.light.narrow.svg"))
    assert chart.narrow_width <= 350 < 700 < chart.width
    rows = json.loads((project / "site" / "one.json").read_text())
    assert [row["amount"] for row in rows] == [12.5, None, -1234.5]


def test_text_of_a_bar_stands_behind_its_end(project: Path, drawn: Drawn) -> None:
    """The longest bar ends so far from the edge that its text has room there."""
    label = "a text that is long beside a bar"
    chart = drawn(
        sql="select 100 as n, 'x' as name union all select -20, 'y'",
        chart={"kind": "bar", "x": "n", "y": "name", "label": label},
    )
    svg = (project / "site" / "one.light.svg").read_text()
    ends = [float(x) for x in re.findall(r'translate\((-?[\d.]+),[\d.]+\)"[^>]*>' + label, svg)]
    assert len(ends) == 2
    assert max(ends) + len(label) * 6.5 < chart.width


@pytest.mark.parametrize(
    ("kind", "options"), [("line", {"colour": "shop"}), ("dot", {"scale": "symlog"}), ("dot", {"colour": "shop"})]
)
def test_time_and_gaps_are_drawn(project: Path, drawn: Drawn, kind: str, options: dict[str, str]) -> None:
    chart = drawn(chart={"kind": kind, "x": "day", "y": "amount", **options})
    assert chart.error == ""
    assert chart.width > 0


def test_number_and_table_need_no_picture(project: Path, drawn: Drawn) -> None:
    number = drawn(
        sql="select sum(amount) as total, count(*) as n from marts.sales",
        chart={"kind": "number", "y": "total", "label": "of {n} rows"},
    )
    assert (number.figure, number.label) == ("-1,222", "of 3 rows")
    assert drawn(text="{rows} rows, the last of {last.day}").sentence == "3 rows, the last of 2026-01-03"
    page = (project / "site" / "index.html").read_text()
    assert '<td class="n">-1,234.5</td>' in page
    assert list((project / "site").glob("*.svg")) == []


def test_specification_of_vega_lite_is_drawn(project: Path, drawn: Drawn) -> None:
    x, y = {"field": "day", "type": "temporal"}, {"field": "amount", "type": "quantitative"}
    chart = drawn(spec={"mark": "line", "encoding": {"x": x, "y": y}})
    assert (chart.error, chart.width, chart.narrow_width) == ("", 800, 340)
    wrong = drawn(spec={"mark": "lime", "encoding": {}})
    assert wrong.error


@pytest.mark.parametrize(
    ("board", "why"),
    [
        ({"sql": "select * from marts.orders"}, "orders does not exist"),
        ({"chart": {"kind": "bar", "x": "amuont", "y": "day"}}, "no column 'amuont'; it returns day, amount, shop"),
        ({"text": "of {days}"}, "the text names {days}, and the query returns day, amount, shop"),
        ({"chart": {"kind": "pie"}}, "one.yaml: chart.kind: Input should be 'bar'"),
        ({"chart": {"kind": "bar", "x": "a"}}, "a bar chart needs y"),
        ({"format": {"amount": "lots"}}, "'lots' is no format"),
        ({"spec": {"mark": "bar", "data": {"url": "http://127.0.0.1/x"}}}, "spec has `data`"),
        ({"time_zone": "Mars"}, "no time zone is named 'Mars'"),
        ({"titel": "x"}, "titel: Extra inputs are not permitted"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_chart_that_fails_says_why_and_stops_no_other(project: Path, board: dict[str, Any], why: str) -> None:
    write(project, "one", **board)
    write(project, "two")
    first, second = draw(marts_at(f"duckdb:///{project}/p.duckdb"), project / "site", AT)
    if first.name == "two":
        first, second = second, first
    assert why in first.error
    assert (second.error, second.rows) == ("", 3)
    page = (project / "site" / "index.html").read_text()
    assert page.count("can't be drawn.") == 1
    assert "1 of 2 chart is not drawn" in page
    lake = MemoryLake()
    lake.write("_site/dashboards/charts.json", (project / "site" / "charts.json").read_bytes())
    (trouble,) = chart_troubles(lake).values()
    assert why in trouble.sentence
    assert trouble.command == "millrace dashboards --watch"


def test_lake_without_dashboards_has_no_trouble() -> None:
    assert chart_troubles(MemoryLake()) == {}


@pytest.mark.parametrize(("name", "text"), [("a", "title: ["), ("B", "title: x"), ("c", ""), ("d", "title: x")])
def test_file_that_is_no_board_is_named(project: Path, name: str, text: str) -> None:
    (project / "dashboards" / f"{name}.yaml").write_text(text)
    (board,) = load_boards(project / "dashboards")
    assert isinstance(board, BrokenBoard)
    assert f"{name}.yaml" in board.error


def test_page_escapes_text_of_the_data(project: Path, drawn: Drawn) -> None:
    evil = "<script>alert(1)</script>&"
    drawn(
        title=evil,
        text="{name}",
        sql=f"select 1 as n, '{evil}' as name",
        chart={"kind": "bar", "x": "n", "y": "name"},
    )
    for name in ("index.html", "one.light.svg"):
        text = (project / "site" / name).read_text()
        assert "<script>" not in text
        assert "&lt;script&gt;" in text


def test_no_dashboards_are_an_invitation(project: Path) -> None:
    assert draw(marts_at(f"duckdb:///{project}/p.duckdb"), project / "site", AT) == []
    assert "No dashboards yet" in (project / "site" / "index.html").read_text()


def test_watched_page_follows_its_files(project: Path) -> None:
    seen: list[list[str]] = []
    watcher = Watcher(
        marts_at(f"duckdb:///{project}/p.duckdb"),
        project / "site",
        [project / "dashboards", project / "p.duckdb"],
        lambda charts: seen.append([chart.title for chart in charts]),
    )
    assert (watcher.look(), watcher.look()) == (True, False)
    write(project, "one")
    assert watcher.look()
    assert seen == [[], ["One"]]
    with server(watcher) as pages:
        import threading

        threading.Thread(target=pages.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{pages.server_port}"
        assert httpx.get(f"{url}/version").text == "2"
        page = httpx.get(url)
        assert "location.reload" in page.text
        assert "One" in page.text
        assert httpx.get(f"{url}/one.csv").text.startswith("day,amount,shop")
        pages.shutdown()
