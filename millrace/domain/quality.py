"""Expectations and their results: what is asked of tables, and what was found."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from millrace.domain.types import Frozen

STOP, QUARANTINE, WARN = "stop", "quarantine", "warn"
Severity = Literal["stop", "quarantine", "warn"]


class Expected(Frozen):
    """One expectation: Great Expectations' type and its arguments.

    When it does not hold, `stop` keeps the marts as they were, `quarantine` leaves the rows that break it out of them,
    `warn` only tells.
    """

    type: Annotated[str, Field(pattern=r"^expect_[a-z0-9_]+$")]
    severity: Severity = "stop"
    args: dict[str, Any] = Field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it asks about."""
        named = [self.args[key] for key in ("column", "column_A", "column_B") if key in self.args]
        return (*named, *self.args.get("column_list", ()))


class QualityResult(Frozen):
    """One expectation on one table: `observed` in words, and a few of the values that break it."""

    suite: str
    expectation: str
    column: str = ""
    severity: Severity = "stop"
    success: bool
    observed: str = ""
    sample: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What says that two results, of two runs, are of the same expectation."""
        return self.suite, self.expectation, self.column, self.severity

    def __str__(self) -> str:
        where = f"{self.suite}.{self.column}" if self.column else self.suite
        seen = f", saw {self.observed}" if self.observed else ""
        sample = f", e.g. {', '.join(self.sample)}" if self.sample and not self.success else ""
        return f"{where}: {self.expectation}{seen}{sample}"


class QualityFact(Frozen):
    """A result as `ops.quality` keeps it: of which run, on which candidate, asked by whom and when."""

    at: datetime
    by: str
    run_id: str
    candidate: str
    result: QualityResult


class QualityRun(Frozen):
    """What one run of the gate found, of merged rows or of a candidate: how many expectations held, and how many of
    each severity did not: `failed` ones keep the marts as they were, `left_out` ones keep rows out of them.
    """

    at: datetime
    run_id: str
    candidate: str
    held: int
    failed: int
    left_out: int
    warned: int
