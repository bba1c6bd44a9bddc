"""The context that prefect-dbt passes to each node's task run."""

from pathlib import Path
from typing import Any

import pytest
from prefect.context import serialize_context

from millrace.project import current_project
from tests.support.flow_environment import FlowEnvironment

pytestmark = pytest.mark.demo


def test_nodes_do_not_reload_prefect_settings(
    environment: FlowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect_dbt import PrefectDbtRunner, PrefectDbtSettings  # imports dbt, which takes seconds

    from tasks.model.dbt_runner import Runner

    contexts: list[dict[str, Any]] = []

    def callback(runner: PrefectDbtRunner, tracker: Any, level: Any, context: dict[str, Any], **_: Any) -> Any:
        contexts.append(context)
        return lambda event: None

    monkeypatch.setattr(PrefectDbtRunner, "_create_unified_callback", callback)
    assert serialize_context()["settings_context"]  # each node would get and load these settings a second time
    project = current_project().dbt_project
    settings = PrefectDbtSettings(project_dir=project, profiles_dir=project, target_path=tmp_path)
    runner = Runner(settings=settings, _force_nodes_as_tasks=True)
    runner.invoke(["list", "--select", "dim_plane"])
    assert [context["settings_context"] for context in contexts] == [{}]
