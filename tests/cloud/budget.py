"""Limits in; the calls, objects, bytes and dollars of a run counted against them, a refusal before one is passed."""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from tests.cloud.methods import CREATES_OBJECT, LEAST_QUERY_BYTES, PER_TIB_QUERY, QUERIES, price


class OverBudget(Exception):
    """A call would pass a limit of the run."""


@dataclass(frozen=True)
class Limits:
    """What a run may use; `query_bytes` is the bound of each query, `scanned_bytes` that of all."""

    cost: float = 2.0
    calls: int = 60_000
    objects: int = 20_000
    query_bytes: int = 1024**3
    scanned_bytes: int = 300 * 1024**3

    def dump(self) -> str:
        """Return the limits as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> "Limits":
        """Return the limits that JSON has."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text or "{}").items() if name in names})


@dataclass(frozen=True)
class Use:
    """What a run has used: calls, objects written, bytes that queries are billed at least, dollars."""

    calls: int = 0
    objects: int = 0
    scanned_bytes: int = 0
    cost: float = 0.0

    def plus(self, method: str, tables: int = 0, times: int = 1) -> "Use":
        """Return the use after calls of a method; `tables` are those that a query names."""
        scanned = tables * LEAST_QUERY_BYTES if method in QUERIES else 0
        return Use(
            self.calls + times,
            self.objects + times * (method in CREATES_OBJECT),
            self.scanned_bytes + scanned,
            self.cost + times * price(method) + scanned / 1024**4 * PER_TIB_QUERY,
        )

    def add(self, other: "Use") -> "Use":
        """Return the sum of two uses."""
        return Use(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Use)))

    def dump(self) -> dict[str, Any]:
        """Return the use as JSON values."""
        return asdict(replace(self, cost=round(self.cost, 4)))


def check_limits(use: Use, limits: Limits) -> None:
    """Raise OverBudget when a use is over a limit."""
    if use.cost > limits.cost:
        raise OverBudget(
            f"the run would cost about ${use.cost:.2f}, more than the ${limits.cost:.2f} that --max-cost allows"
        )
    for name in ("calls", "objects", "scanned_bytes"):
        used, most = getattr(use, name), getattr(limits, name)
        if used > most:
            raise OverBudget(f"the run would use {used:,} {name.replace('_', ' ')}, more than its limit of {most:,}")
