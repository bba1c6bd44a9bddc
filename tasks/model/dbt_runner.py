"""prefect-dbt's runner, without what it does anew for each node; imports dbt."""

from typing import Any

from prefect_dbt import PrefectDbtRunner


class Runner(PrefectDbtRunner):  # type: ignore[misc]  # it is not typed
    """Nodes take Prefect's settings from the process, which has them, and do not read all their sources twice each."""

    def _create_unified_callback(self, task_state: Any, log_level: Any, context: dict[str, Any], **given: Any) -> Any:
        return super()._create_unified_callback(task_state, log_level, context | {"settings_context": {}}, **given)
