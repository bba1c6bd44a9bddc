"""The report of the quality gate: results in, failures by severity and changes since an earlier run out."""

from collections.abc import Iterable
from dataclasses import dataclass

from millrace.domain.quality import STOP, QualityResult


@dataclass(frozen=True)
class QualityReport:
    """The results of all expectations."""

    results: tuple[QualityResult, ...]

    @property
    def passed(self) -> bool:
        """Return True if no failure stops the publication."""
        return not self.failed(STOP)

    def failed(self, severity: str) -> tuple[QualityResult, ...]:
        """Return failed expectations of a severity, first those that could not be checked, as they hide the rest."""
        failed = (r for r in self.results if not r.success and r.severity == severity)
        return tuple(sorted(failed, key=lambda r: not r.is_unchecked))

    def newly_failed(self, before: Iterable[QualityResult]) -> tuple[QualityResult, ...]:
        """Return failures that stop the publication, without those before, for which an alert was sent already."""
        reported = {r.key for r in before if not r.success}
        return tuple(r for r in self.failed(STOP) if r.key not in reported)

    def recovered(self, before: Iterable[QualityResult]) -> tuple[QualityResult, ...]:
        """Return expectations that stopped the publication before and hold now."""
        stopped = {r.key for r in before if not r.success and r.severity == STOP}
        return tuple(r for r in self.results if r.success and r.key in stopped)
