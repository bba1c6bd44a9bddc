"""Does one task after the other, whatever becomes of each: one source that fails must not stop the rest."""

from typing import Any, TypeVar, cast

from prefect import Task
from prefect.client.schemas.objects import State

from millrace.domain.findings import Found

T = TypeVar("T")


class Attempts:
    """Calls tasks and remembers those that failed."""

    def __init__(self) -> None:
        self.failed: list[Found] = []

    def __call__(self, task: Task[..., list[T]], *given: Any) -> list[T]:
        """What the task gives; nothing when it fails, after its own retries."""
        state = cast(State[list[T]], task(*given, return_state=True))
        if state.is_completed():
            return state.result()
        error = state.result(raise_on_failure=False)
        reason = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(state.message)
        name = " ".join([task.name, *(str(value) for value in given if isinstance(value, str))])
        self.failed.append(Found(kind="could not be done", where=name, detail=reason))
        return []
