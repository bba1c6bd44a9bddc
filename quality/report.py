"""What the gate found."""

from dataclasses import dataclass

from contracts.model import QualityResult

STOP, WARN = "stop", "warn"


@dataclass(frozen=True)
class QualityReport:
    """Every expectation's result."""

    results: tuple[QualityResult, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed that stops a publication."""
        return not self.failed(STOP)

    def failed(self, severity: str) -> tuple[QualityResult, ...]:
        """Expectations of a severity that did not hold."""
        return tuple(r for r in self.results if not r.success and r.severity == severity)
