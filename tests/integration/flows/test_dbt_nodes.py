"""What prefect-dbt is told of each node's run."""

from pathlib import Path
from typing import Any

import pytest
from prefect.context import serialize_context
from prefect_dbt import PrefectDbtRunner, PrefectDbtSettings

from tasks.model.dbt import PROJECT
from tasks.model.dbt_runner import Runner
from tests.support.flows_place import FlowsPlace


def test_nodes_do_not_read_prefects_settings_anew(
    place: FlowsPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []

    def callback(runner: PrefectDbtRunner, tracker: Any, level: Any, context: dict[str, Any], **_: Any) -> Any:
        told.append(context)
        return lambda event: None

    monkeypatch.setattr(PrefectDbtRunner, "_create_unified_callback", callback)
    assert serialize_context()["settings_context"]  # what each node would be given, and would read twice
    settings = PrefectDbtSettings(project_dir=PROJECT, profiles_dir=PROJECT, target_path=tmp_path)
    runner = Runner(settings=settings, _force_nodes_as_tasks=True)
    runner.invoke(["list", "--select", "dim_plane"])
    assert [context["settings_context"] for context in told] == [{}]
