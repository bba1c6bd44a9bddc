"""prefect-dbt's runner, without the work that it repeats for each node; imports dbt."""

from typing import Any

from prefect_dbt import PrefectDbtRunner


class Runner(PrefectDbtRunner):  # type: ignore[misc]  # it is not typed
    """A runner whose nodes share the settings of the process, instead of loading them twice each."""

    def _create_unified_callback(self, task_state: Any, log_level: Any, context: dict[str, Any], **options: Any) -> Any:
        return super()._create_unified_callback(task_state, log_level, context | {"settings_context": {}}, **options)
