"""Expectations on tables and their results, as types."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from millrace.domain.types import Frozen

STOP, QUARANTINE, WARN = "stop", "quarantine", "warn"
UNCHECKED = "could not be checked: "  # begins what a result observed when the database rejected its query
Severity = Literal["stop", "quarantine", "warn"]


class Expected(Frozen):
    """One expectation: Great Expectations' type and its arguments.

    When it fails, `stop` blocks the publication of the marts, `quarantine` leaves the violating rows out of them, and
    `warn` only reports.
    """

    type: Annotated[str, Field(pattern=r"^expect_[a-z0-9_]+$")]
    severity: Severity = "stop"
    args: dict[str, Any] = Field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that the expectation tests."""
        named = [self.args[key] for key in ("column", "column_A", "column_B") if key in self.args]
        return (*named, *self.args.get("column_list", ()))


class QualityResult(Frozen):
    """One expectation on one table: `observed` in words, and a few of the violating values."""

    suite: str
    expectation: str
    column: str = ""
    severity: Severity = "stop"
    success: bool
    observed: str = ""
    sample: tuple[str, ...] = ()

    @property
    def is_unchecked(self) -> bool:
        """Return True when the expectation itself could not be evaluated, so that nothing is known of the rows."""
        return not self.success and self.observed.startswith(UNCHECKED)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return the identity of the expectation, equal in the results of different runs."""
        return self.suite, self.expectation, self.column, self.severity

    def __str__(self) -> str:
        where = f"{self.suite}.{self.column}" if self.column else self.suite
        observed = f", {'' if self.is_unchecked else 'saw '}{self.observed}" if self.observed else ""
        sample = f", e.g. {', '.join(self.sample)}" if self.sample and not self.success else ""
        return f"{where}: {self.expectation}{observed}{sample}"


class QualityFact(Frozen):
    """A row of `ops.quality`: a result with its run, its candidate, its caller and its time."""

    at: datetime
    by: str
    run_id: str
    candidate: str
    result: QualityResult


class QualityRun(Frozen):
    """Counts of one run of the gate over merged rows or a candidate: `held` expectations, and failed ones by severity.

    `failed` ones block the publication of the marts, `left_out` ones leave rows out of them, `warned` ones only report.
    """

    at: datetime
    run_id: str
    candidate: str
    held: int
    failed: int
    left_out: int
    warned: int
