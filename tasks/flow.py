"""The decorator of every flow: results in the lake, and notifications of failure and recovery."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Flow, flow

from blocks.names import RESULT_STORAGE
from tasks.notify import notify_failure, notify_recovery
from tasks.show_status import show_failure

P = ParamSpec("P")
R = TypeVar("R")


def millrace_flow(
    *, flow_run_name: str, shows_failure: bool = False, **options: Any
) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a function a flow of the platform.

    Args:
        flow_run_name: template of a run's name; a success recovers from the last failure of the same name.
        shows_failure: render the status page when a run fails.
        options: further options of Prefect's `flow`.
    """
    return flow(
        flow_run_name=flow_run_name,
        persist_result=True,
        result_storage=RESULT_STORAGE,
        on_failure=[notify_failure, show_failure] if shows_failure else [notify_failure],
        on_completion=[notify_recovery],
        **options,
    )
