"""Decorators of tasks that are retried after a transient failure: `transient_task` and `uncached_task`."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from millrace.domain.errors import Retryable

P = ParamSpec("P")
R = TypeVar("R")
DELAYS_S: list[float] = [2, 10, 30]


def is_transient(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return True when the task failed with a `Retryable` error, so that the same call may succeed later."""
    try:
        state.result()
    except Retryable:
        return True
    except Exception:
        return False
    return False


def transient_task(*, retries: int, **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task that is retried after a transient failure; `options` are those of Prefect's `task`."""
    return task(retries=retries, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient, **options)


def uncached_task(*, retries: int, **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a `transient_task` that runs every time: a retried flow run never gets its earlier result."""
    return transient_task(retries=retries, cache_policy=NO_CACHE, **options)
