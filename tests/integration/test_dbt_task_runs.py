"""The task runs and the table of a dbt build: models and failures by default, every node on request."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter

from millrace.lake.store import Lake
from tasks.model import dbt
from tests.support.harness import harness
from tests.support.modelling import Modelling
from tests.support.servers import wait_until
from tests.support.two_parts import two_parts, write_project

CANDIDATE = "candidate_0123456789abcdef"
BUILT = {"model calendar", "model sales", "model traffic"}
SKIPPED = "model sales_total"
"""It reads a model whose test fails; the order of prefect-dbt's threads decides whether it has a task run."""
FAILING, WARNING = "test unique_sales_amount", "test accepted_values_traffic_page__b"
PASSING = {"test not_null_sales_id", "test unique_traffic_id"}
TESTS = """
models:
  - name: sales
    columns:
      - {name: id, data_tests: [not_null]}
      - {name: amount, data_tests: [unique]}
  - name: traffic
    columns:
      - {name: id, data_tests: [unique]}
      - name: page
        data_tests: [{accepted_values: {arguments: {values: [b]}, config: {severity: warn}}}]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modelling]:
    """Return a warehouse in which one test of the project fails, one warns and two pass, beside a Prefect server."""
    folder = tmp_path_factory.mktemp("shop")
    write_project(folder)
    (folder / "dbt_project" / "models" / "marts" / "tests.yml").write_text(TESTS)
    shop = two_parts(folder)
    shop.merge("orders", {"id": 1, "amount": 5}, {"id": 2, "amount": 5})
    shop.merge("visits", {"id": 1, "page": "a"})
    with pytest.MonkeyPatch.context() as patch, harness():
        patch.setenv("MILLRACE_PROJECT", str(folder))
        yield shop


def build(shop: Modelling, target: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Build everything in a flow run, which fails; return the filter of the run, and the rows of its table."""
    target.mkdir()
    shop.warehouse.begin_candidate(CANDIDATE, empty=True)
    environment = shop.warehouse.dbt_environment(CANDIDATE) | {dbt.CANDIDATE: CANDIDATE, dbt.AS_OF: ""}

    @flow
    def builds() -> None:
        with shop.warehouse.reader("test"):
            dbt.invoke_dbt(["build", "--full-refresh"], environment, target)

    state: Any = builds(return_state=True)
    with pytest.raises(ValueError, match='Test unique_sales_amount failed with message: "Got 1 result'):
        state.result()
    run = {"id": {"any_": [state.state_details.flow_run_id]}}
    with get_client(sync_client=True) as client:
        (table,) = client.read_artifacts(
            artifact_filter=ArtifactFilter.model_validate({"key": {"any_": ["dbt-nodes"]}}),
            flow_run_filter=FlowRunFilter.model_validate(run),
        )
    return run, list(json.loads(str(table.data)))


def ends_with(run: dict[str, Any], expected: dict[str, str]) -> None:
    """Compare the task runs with their states, which reach the server's tables a little later."""

    def task_runs() -> dict[str, str]:
        with get_client(sync_client=True) as client:
            runs = client.read_task_runs(flow_run_filter=FlowRunFilter.model_validate(run))
        return {task.name: str(task.state_name) for task in runs if task.name != SKIPPED}

    wait_until(lambda: set(expected.items()) <= set(task_runs().items()), f"the task runs are {expected}", 60)
    assert task_runs() == expected


def test_models_and_failures_are_task_runs(
    shop: Modelling, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbt, "open_lake", lambda: lake)
    run, table = build(shop, tmp_path / "target")
    built = dict.fromkeys(BUILT, "Completed")
    ends_with(run, {**built, FAILING: "Failed", WARNING: "Completed"})
    statuses = {row["node"]: row["status"] for row in table}
    assert statuses == {
        **dict.fromkeys(built, "success"),
        **dict.fromkeys(PASSING, "pass"),
        FAILING: "fail",
        WARNING: "warn",
        SKIPPED: "skipped",
    }
    assert {row["node"] for row in table[:3]} == {FAILING, WARNING, SKIPPED}
    (failing,) = (row for row in table if row["node"] == FAILING)
    assert failing["message"] == "Got 1 result, configured to fail if != 0"
    assert failing["started"]
    assert failing["seconds"] >= 0


def test_setting_makes_every_node_a_task_run(
    shop: Modelling, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbt, "open_lake", lambda: lake)
    monkeypatch.setenv("MILLRACE_MODEL__TASK_RUNS", "all")
    run, table = build(shop, tmp_path / "target")
    passed = {row["node"] for row in table} - {FAILING, SKIPPED}
    assert passed > PASSING
    ends_with(run, {**dict.fromkeys(passed, "Completed"), FAILING: "Failed"})
