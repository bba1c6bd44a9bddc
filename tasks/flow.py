"""The decorator of every flow: a check of its parameters, results in the lake, notifications of its end."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Flow, flow

from blocks.names import RESULT_STORAGE
from tasks.notify import notify_failure, notify_recovery
from tasks.pauses import stop_paused
from tasks.reject import reject_mistyped
from tasks.show_status import show_failure

P = ParamSpec("P")
R = TypeVar("R")


def millrace_flow(
    *, flow_run_name: str, shows_failure: bool = False, pausable: bool = False, **options: Any
) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a function a flow of the platform.

    Args:
        flow_run_name: template of a run's name; a success recovers from the last failure of the same name.
        shows_failure: render the status page when a run fails.
        pausable: end a run as Cancelled while its source or stream is paused.
        options: further options of Prefect's `flow`.
    """
    decorate = flow(
        flow_run_name=flow_run_name,
        persist_result=True,
        result_storage=RESULT_STORAGE,
        on_failure=[notify_failure, show_failure] if shows_failure else [notify_failure],
        on_completion=[notify_recovery],
        **options,
    )
    return lambda function: decorate(_checked(function, pausable=pausable))


def _checked(function: Callable[P, R], *, pausable: bool) -> Callable[P, R]:
    """Return the function that first rejects mistyped parameters and stops what is paused, by the run's final state."""

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        parameters = signature(function).bind(*args, **kwargs).arguments
        end = reject_mistyped(parameters) or (stop_paused(parameters) if pausable else None)
        return cast(R, end) if end else function(*args, **kwargs)

    return checked
