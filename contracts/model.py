"""A model run: which merges it takes into the marts."""

from datetime import datetime

from contracts.landing import Count
from contracts.stream import Frozen


class ModelWork(Frozen):
    """Merged batches that are not in the marts yet, and the instant up to which this run reads."""

    watermark: datetime
    batches: tuple[str, ...]
    streams: tuple[str, ...]
    rows: Count = 0


class QualityResult(Frozen):
    """One expectation on one mart."""

    suite: str
    expectation: str
    column: str = ""
    severity: str = "stop"
    success: bool
    observed: str = ""
    sample: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"{self.suite}.{self.column}" if self.column else self.suite
        seen = f", saw {self.observed}" if self.observed else ""
        return f"{where}: {self.expectation}{seen}"


class Published(Frozen):
    """Marts that readers see from now on, with their rows."""

    run_id: str
    marts: dict[str, int]
    batches: Count
