"""Questions to sources of which any may be away: an answer, or None and the reason."""

from collections.abc import Callable
from typing import TypeVar

from millrace.status.types import Asked, Unknown

T = TypeVar("T")
LONGEST = 300


class Asker:
    """Asks, and remembers what could not be asked."""

    def __init__(self) -> None:
        self.unknown: list[Unknown] = []

    def __call__(self, what: Asked, question: Callable[[], T]) -> T | None:
        """The answer; None when the question failed, however it did, or who is asked was away before."""
        if any(unknown.what == what for unknown in self.unknown):
            return None  # it would be waited for as long again
        try:
            return question()
        except Exception as error:  # whatever a client raises: what the others know is shown all the same
            why = " ".join(f"{type(error).__name__}: {error}".split())
            self.unknown.append(Unknown(what=what, why=why[:LONGEST]))
            return None
