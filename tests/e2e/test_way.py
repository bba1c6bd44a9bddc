"""A day's way through the platform, by events alone: what each step left where a person would look for it."""

import re
from datetime import UTC, datetime

import httpx
import pytest

from cli.deploy.dropped_deployments import MADE
from local.demo.airport_ops.check import compare
from local.demo.airport_ops.replay import day
from local.demo.day import DayResult, watch
from local.demo.prefect import ACTION_FAILED
from local.demo.run import await_pages
from local.demo.say import Say
from local.stack.local_stack import BUCKET
from millrace.domain import names
from millrace.domain.ledger import EVER
from tests.e2e.stack import Stack, now
from tests.support.servers import wait_until

pytestmark = pytest.mark.demo


@pytest.fixture(scope="module")
def taken(stack: Stack) -> DayResult:
    """The runs and rows of the first day, which `make run` loaded, or else the stack's fixture."""
    result = DayResult(day(stack.local.database))
    watch(stack.platform, datetime(2000, 1, 1, tzinfo=UTC), result, Say())
    assert await_pages(stack.platform, result.runs)
    return result


def test_every_flow_ran_from_an_event(stack: Stack, taken: DayResult) -> None:
    flows = {run.flow: run for run in taken.runs}
    assert set(flows) >= {"ingest", "merge", "model"}
    assert [run for run in taken.runs if run.bad] == []
    for flow in ("merge", "model"):
        body = stack.http.get(f"/flow_runs/{flows[flow].id}").raise_for_status().json()
        assert body["created_by"]["type"] == "AUTOMATION"
    assert taken.reconciles == 0


def test_all_landed_rows_are_accounted_for(stack: Stack, taken: DayResult) -> None:
    rows = taken.rows
    assert rows["landed"] > 0
    assert rows["landed"] == rows["rows_in"]
    assert rows["rows_in"] == rows["merged"] + rows["superseded"] + rows["stale"] + rows["quarantined"]


def test_ledger_has_each_step_of_each_batch(stack: Stack, taken: DayResult) -> None:
    ledger = stack.platform.warehouse.ledger(EVER)
    merged = {entry.batch_id for entry in ledger if entry.kind == "merged"}
    assert merged
    for kind in ("announced", "published"):
        assert merged <= {entry.batch_id for entry in ledger if entry.kind == kind}


def test_readers_see_marts_with_right_figures(stack: Stack, taken: DayResult) -> None:
    assert compare(stack.local.marts, taken.day).differences == ()


def test_slack_lists_published_marts_and_run_link(stack: Stack, taken: DayResult) -> None:
    message = stack.wait_for_message("Marts published from", since=taken.runs[0].started or now())
    assert re.search(r"fct_flights [\d,]+", message)
    assert f"<{stack.local.http('prefect')}/runs/flow-run/" in message


def test_pages_are_in_the_lake_and_self_contained(stack: Stack, taken: DayResult) -> None:
    site = f"{stack.local.http('storage')}/{BUCKET}/{names.SITE}"
    quality = httpx.get(f"{site}quality/index.html").raise_for_status().text
    assert "All expectations hold." in quality
    for table in ("fct_flights", "dim_airline", "airline_punctuality_monthly"):  # built that day, or before
        assert table in quality
    first = re.search(r'href="(validations/[^"]+)"', quality)
    assert first
    page = httpx.get(f"{site}quality/{first[1]}").raise_for_status().text
    for html in (quality, page):
        assert not re.search(r"<(script|img|link)[^>]+(src|href)=[\"'](https?:)?//", html)
    assert "dim_airline" in httpx.get(f"{site}dbt/index.html").raise_for_status().text


def test_no_automation_failed_to_act(stack: Stack, taken: DayResult) -> None:
    failed = stack.platform.api.events(ACTION_FAILED, taken.runs[0].started or now())
    assert [e["payload"] for e in failed if e["payload"].get("action_type") != "change-flow-run-state"] == []


def test_deployments_have_descriptions_and_tags(stack: Stack) -> None:
    for name in ("ingest", "merge", "model", "show", "reconcile"):
        deployment = stack.http.get(f"/deployments/name/{name}/{name}").raise_for_status().json()
        assert deployment["description"]
        assert deployment["tags"] == ["millrace", name, MADE]
        assert deployment["enforce_parameter_schema"]
        for parameter in deployment["parameter_openapi_schema"]["properties"].values():
            assert parameter["description"]


def test_parameter_of_wrong_type_creates_no_run(stack: Stack) -> None:
    deployment = stack.http.get("/deployments/name/merge/merge").raise_for_status().json()
    answer = stack.http.post(f"/deployments/{deployment['id']}/create_flow_run", json={"parameters": {"source": 5}})
    assert answer.status_code in (409, 422)
    assert "5" in answer.text or "stream" in answer.text


def test_schedule_plans_reconcile_but_not_ingest(stack: Stack) -> None:
    def planned(flow: str) -> list[dict[str, object]]:
        query = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "deployments": {"name": {"any_": [flow]}}}
        runs = stack.http.post("/flow_runs/filter", json=query).raise_for_status().json()
        return [run for run in runs if run["auto_scheduled"]]

    wait_until(lambda: len(planned("reconcile")) >= 2, "Prefect plans the next runs of reconcile", 120)
    assert planned("ingest") == []
