"""Reads from services that may be unavailable: a result out, or None with the reason kept."""

from collections.abc import Callable
from typing import TypeVar

from millrace.status.types import Service, Unknown

T = TypeVar("T")
REASON_LENGTH = 300


class TolerantReader:
    """A caller of functions that may fail; `unknown` collects the services that did, each with its reason."""

    def __init__(self) -> None:
        self.unknown: list[Unknown] = []

    def __call__(self, service: Service, function: Callable[[], T]) -> T | None:
        """Return the function's result, or None when it fails, now or on an earlier call for the same service."""
        if any(unknown.what == service for unknown in self.unknown):
            return None  # a second call would wait for the same timeout
        try:
            return function()
        except Exception as error:  # clients raise many types, and none may hide the other services' results
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self.unknown.append(Unknown(what=service, why=reason[:REASON_LENGTH]))
            return None
