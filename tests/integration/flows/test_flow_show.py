"""The flow `show` in this process: the pages and files of the first publication, failures, and a lost start."""

import json
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.states import Crashed, Running

from flows.reconcile import reconcile
from flows.show import show
from millrace.domain import names
from millrace.domain.errors import ReconcileIncomplete, ShowIncomplete
from millrace.warehouse.shown import shown_publication
from tests.support.flow_environment import FlowEnvironment, Ran

pytestmark = pytest.mark.demo

DASHBOARDS = f"{names.SITE}dashboards/"


def gaps_of(ran: Ran) -> list[tuple[str, str, int]]:
    """Return reason, subject and count of each finding of reconcile."""
    return [(row["found"], row["where"], row["count"]) for row in ran.tables["reconcile"]]


def test_model_run_leaves_pages_to_show(environment: FlowEnvironment, published: Ran) -> None:
    assert [info.name for info in environment.lake.list(names.SITE) if "/status/" not in info.name] == []
    assert len(list(environment.lake.list(names.GATE_RESULTS))) == 1


def test_show_publishes_all_pages_once(environment: FlowEnvironment, published: Ran, shown: Ran) -> None:
    (candidate,) = {e.detail for e in environment.ledger("published") if e.run_id == published.id}
    assert shown.result == [candidate]
    assert shown_publication(environment.lake) == candidate
    assert list(environment.lake.list(names.GATE_RESULTS)) == []
    pages = {info.name for info in environment.lake.list(names.SITE)}
    assert {f"{names.SITE}{page}/index.html" for page in ("quality", "dbt", "dashboards", "status")} <= pages
    for mart in environment.warehouse.marts():
        assert any(page.startswith(f"{names.SITE}quality/validations/{mart}/") for page in pages)
    assert "fct_flights" in environment.lake.read(f"{names.SITE}dbt/index.html").decode()
    before = environment.lake.stat(f"{DASHBOARDS}index.html")
    assert environment.run(show).result == []
    assert environment.lake.stat(f"{DASHBOARDS}index.html") == before, "nothing new was drawn"
    pages_of_results = {info.name for info in environment.lake.list(f"{names.SITE}quality/")}
    assert pages_of_results == {page for page in pages if page.startswith(f"{names.SITE}quality/")}


def test_charts_of_published_marts_are_in_lake(environment: FlowEnvironment, shown: Ran) -> None:
    files = {info.name.removeprefix(DASHBOARDS) for info in environment.lake.list(DASHBOARDS)}
    assert files >= {"index.html", "board.light.svg", "board.dark.svg", "board.csv", "board.json", "routes.light.svg"}
    board = json.loads(environment.lake.read(f"{DASHBOARDS}board.json"))
    newest = "(SELECT max(flight_date) FROM marts.fct_flights WHERE departed_at IS NOT NULL)"
    ((flights,),) = environment.marts(f"SELECT count(*) FROM marts.fct_flights WHERE flight_date = {newest}")
    assert len(board) == flights > 0


def test_second_run_leaves_the_work_to_the_active_one(environment: FlowEnvironment, shown: Ran) -> None:
    environment.lake.delete(names.SHOWN)
    charts, page = (environment.lake.stat(name) for name in (f"{DASHBOARDS}index.html", names.STATUS_PAGE))
    with concurrency(names.SHOW_SLOT, occupy=1, strict=True):
        assert environment.run(show).result == []
        assert environment.lake.stat(f"{DASHBOARDS}index.html") == charts
        assert environment.lake.stat(names.STATUS_PAGE) != page, "it renders the status page all the same"
    assert environment.run(show).result == shown.result


def test_failing_charts_do_not_stop_other_pages(
    environment: FlowEnvironment, shown: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.lake.delete(names.SHOWN)
    charts, quality = (environment.lake.stat(f"{names.SITE}{site}/index.html") for site in ("dashboards", "quality"))
    monkeypatch.setattr("millrace.dashboards.draw.load_boards", lambda _: [None])  # of no kind that can be drawn
    ran = environment.run(show)
    with pytest.raises(ShowIncomplete, match=r"^1 parts failed, all others are shown.* draw_dashboards: "):
        assert ran.result
    assert environment.lake.stat(f"{DASHBOARDS}index.html") == charts
    assert environment.lake.stat(f"{names.SITE}quality/index.html") != quality
    assert shown_publication(environment.lake) == ""
    monkeypatch.undo()
    assert environment.run(show).result == shown.result


def test_reconcile_starts_a_missed_show(
    environment: FlowEnvironment, shown: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.settle()
    environment.lake.delete(names.SHOWN)
    gap = ("publication not shown", "marts", 1)
    monkeypatch.setattr("tasks.reconcile.find_work.SETTLED", timedelta(hours=1))
    assert gap not in gaps_of(environment.run(reconcile, dry_run=True)), "its event may still start the run"
    monkeypatch.setattr("tasks.reconcile.find_work.SETTLED", timedelta(0))
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(show, state=Running())
        assert gap not in gaps_of(environment.run(reconcile, dry_run=True)), "an active run shows it"
        client.set_flow_run_state(run.id, Crashed(), force=True)
    ran = environment.run(reconcile)
    assert gap in gaps_of(ran)
    with pytest.raises(ReconcileIncomplete, match=r"start_show: SettingsError: deployment show/show does not exist"):
        assert ran.result
    environment.settle()
    assert gap not in gaps_of(environment.run(reconcile, dry_run=True))


def test_reconcile_frees_slot_of_a_dead_show(environment: FlowEnvironment, shown: Ran) -> None:
    environment.settle()
    environment.leak(names.SHOW_SLOT)
    assert gaps_of(environment.run(reconcile)) == [("slot that no run holds", names.SHOW_SLOT, 1)]
    assert environment.slot(names.SHOW_SLOT) == 0
