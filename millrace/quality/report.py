"""What the gate found."""

from collections.abc import Iterable
from dataclasses import dataclass

from millrace.domain.quality import STOP, QualityResult


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

    def broken_since(self, before: Iterable[QualityResult]) -> tuple[QualityResult, ...]:
        """What stops a publication now and did not before: what people have not been told yet."""
        known = {r.key for r in before if not r.success}
        return tuple(r for r in self.failed(STOP) if r.key not in known)

    def mended_since(self, before: Iterable[QualityResult]) -> tuple[QualityResult, ...]:
        """What stopped a publication before and holds now."""
        broken = {r.key for r in before if not r.success and r.severity == STOP}
        return tuple(r for r in self.results if r.success and r.key in broken)
