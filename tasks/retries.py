"""Which failures a task tries again."""

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from millrace.domain.errors import Retryable

DELAYS_S: list[float] = [2, 10, 30]


def is_transient(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the same call may succeed later."""
    try:
        state.result()
    except Retryable:
        return True
    except Exception:
        return False
    return False
