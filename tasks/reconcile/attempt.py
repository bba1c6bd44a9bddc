"""Runs tasks one after the other and collects their failures, so that one failing task does not stop the rest."""

from collections.abc import Iterable
from typing import Any, TypeVar, cast

from prefect import Task
from prefect.client.schemas.objects import State

from millrace.domain.findings import Gap

T = TypeVar("T")


class Attempts:
    """A caller of tasks that returns their results and keeps the failed ones in `failed`."""

    def __init__(self) -> None:
        self.failed: list[Gap] = []

    def __call__(self, task: Task[..., list[T]], *arguments: Any) -> list[T]:
        """Return a task's result, or an empty list when it fails after its own retries."""
        state = self._run(task, arguments)
        return cast(list[T], state.result()) if state.is_completed() else []

    def each(self, task: Task[..., list[T]], calls: Iterable[tuple[Any, ...]]) -> list[T]:
        """Call a task once per tuple of arguments; returns the results in one list."""
        return [result for arguments in calls for result in self(task, *arguments)]

    def succeeds(self, task: Task[..., Any], *arguments: Any) -> bool:
        """Run a task for its effect; return False when it fails after its own retries."""
        return self._run(task, arguments).is_completed()

    def _run(self, task: Task[..., Any], arguments: tuple[Any, ...]) -> State[Any]:
        state = cast(State[Any], task(*arguments, return_state=True))
        if not state.is_completed():
            error = state.result(raise_on_failure=False)
            reason = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(state.message)
            name = " ".join([task.name, *(value for value in arguments if isinstance(value, str))])
            self.failed.append(Gap(kind="could not be done", where=name, detail=reason))
        return state
