"""prefect-dbt's runner with a parsed manifest, and with task runs for models and failures only; imports dbt."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from dbt.artifacts.schemas.results import NodeStatus
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest
from prefect_dbt import PrefectDbtRunner
from prefect_dbt.core import runner as library

FAILED = (*library.FAILURE_STATUSES, NodeStatus.Warn)


class Runner(PrefectDbtRunner):  # type: ignore[misc]  # it is not typed
    """A runner whose nodes share the settings of the process, instead of loading them twice each.

    With `every_node` each node is a task run, else only those that make a table or view, and those that fail or warn.
    """

    def __init__(self, *, every_node: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self._every_node = every_node
        self._reports: dict[str, Any] = {}

    def invoke(self, args: list[str], **kwargs: Any) -> Any:
        """Run a dbt command, which gets the runner's manifest if it has one."""
        with _pass_on(self._manifest):
            return super().invoke(args, **kwargs)

    def _create_unified_callback(self, task_state: Any, log_level: Any, context: dict[str, Any], **options: Any) -> Any:
        self._reports = {"task_state": task_state, "context": context | {"settings_context": {}}}
        return super()._create_unified_callback(task_state, log_level, self._reports["context"], **options)

    def _call_task(self, task_state: Any, manifest_node: Any, context: dict[str, Any], enable_assets: bool) -> None:
        if self._every_node or manifest_node.resource_type in library.MATERIALIZATION_NODE_TYPES:
            super()._call_task(task_state, manifest_node, context, enable_assets)

    def _run_post_model_hooks(self, node_id: str, event_data: dict[str, Any], event_message: str) -> None:
        """Give a node that failed or warned its task run, now that it has ended; prefect-dbt calls this for each."""
        super()._run_post_model_hooks(node_id, event_data, event_message)
        tasks, status = self._reports["task_state"], event_data.get("node_info", {}).get("node_status")
        if status in FAILED and tasks.get_task_run_id(node_id) is None:
            node, _ = self._get_manifest_node_and_config(node_id)
            super()._call_task(tasks, node, self._reports["context"], False)
            tasks.set_node_status(node_id, event_data, event_message)  # which ends the task run


@contextmanager
def _pass_on(manifest: Manifest | None) -> Iterator[None]:
    """Make prefect-dbt call dbt with a manifest, for which it has no option."""
    library.dbtRunner = partial(dbtRunner, manifest)
    try:
        yield
    finally:
        library.dbtRunner = dbtRunner
