"""A function that fetches a value in; its newest value, fetched at limited intervals, out."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from millrace.domain.errors import ServiceUnavailable
from millrace.gateway.logs import log_event

T = TypeVar("T")


@dataclass(frozen=True)
class Ages:
    """Ages in seconds: a value is fetched again after `fresh_s`, rejected after `usable_s`.

    Between two fetches pass at least `apart_s`, or `apart_at_first_s` while there is no value.
    """

    fresh_s: float
    usable_s: float
    apart_s: float
    apart_at_first_s: float = 1.0


class Refreshed(Generic[T]):
    """A value that is fetched again when it is old or does not serve a caller, by one task at a time.

    A fetch that raises ServiceUnavailable is logged as `event`; the value stays.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[T]],
        empty: T,
        ages: Ages,
        event: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch, self._ages, self._event, self._clock = fetch, ages, event, clock
        self._value = empty
        self._fetched = self._tried = float("-inf")
        self._fetching = asyncio.Lock()

    async def get(self, serves: Callable[[T], bool]) -> T:
        """Return the value; fetch it before if it is old or does not serve the caller.

        Raises:
            ServiceUnavailable: the value was never fetched, or last `usable_s` seconds ago.
        """
        if self._due(serves) and not (serves(self._value) and self._fetching.locked()):
            async with self._fetching:
                if self._due(serves):
                    await self._refresh()
        if self._clock() - self._fetched > self._ages.usable_s:
            raise ServiceUnavailable("it was not fetched recently enough to be used")
        return self._value

    def _due(self, serves: Callable[[T], bool]) -> bool:
        now = self._clock()
        apart_s = self._ages.apart_s if self._value else self._ages.apart_at_first_s
        return (not serves(self._value) or now - self._fetched > self._ages.fresh_s) and now - self._tried > apart_s

    async def _refresh(self) -> None:
        try:
            self._value, self._fetched = await self._fetch(), self._clock()
        except ServiceUnavailable as error:
            log_event(self._event, why=str(error))
        finally:
            self._tried = self._clock()  # not before the fetch, so that callers meanwhile wait for it
