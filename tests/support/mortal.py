"""Dies at a call: a lake and an Airbyte client whose user is killed at the Nth call, before or after it took effect."""

from collections.abc import Callable
from typing import Any

import httpx

from millrace.airbyte.client import AirbyteClient


class Killed(BaseException):
    """The process is gone; nothing in it can answer that."""


class Fate:
    """Counts calls and kills at one of them: at call `n // 2`, before it is made when `n` is even, else after."""

    def __init__(self, n: int | None = None) -> None:
        self.n, self.calls = n, 0

    def call(self, operation: Callable[[], Any]) -> Any:
        """Make a call, unless it is the last one."""
        number = self.calls
        self.calls += 1
        if self.n == 2 * number:
            raise Killed
        try:
            return operation()
        finally:
            if self.n == 2 * number + 1:
                raise Killed


class MortalLake:
    """A lake whose every call may be the last."""

    def __init__(self, lake: Any, fate: Fate) -> None:
        self._lake, self._fate = lake, fate

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._lake, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **named: Any) -> Any:
            return self._fate.call(lambda: attribute(*arguments, **named))

        return call


class MortalClient(AirbyteClient):
    """A client whose every request may be the last."""

    def __init__(self, url: str, credentials: tuple[str, str], fate: Fate) -> None:
        super().__init__(url, *credentials)
        self._fate = fate

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        answer: httpx.Response = self._fate.call(lambda: super(MortalClient, self)._send(method, path, **request))
        return answer
