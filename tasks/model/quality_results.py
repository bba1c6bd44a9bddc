"""Records the gate's results and emits the changes: an alert comes once, until the expectation holds again."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect.artifacts import create_table_artifact

from millrace.domain import names
from millrace.domain.quality import QUARANTINE, STOP, WARN, QualityFact, QualityResult
from millrace.quality.report import QualityReport
from millrace.warehouse.port import Warehouse
from tasks.context import run_id
from tasks.emit import emit

BY = "model"
REASON_LENGTH = 500


def record_results(warehouse: Warehouse, report: QualityReport, candidate: str, artifact: str, held: str = "") -> None:
    """Emit new failures and recoveries, add the results to `ops.quality`, and show them in the run.

    `held` says which marts stay as they were, for the alert.
    """
    before = [fact.result for fact in warehouse.newest_quality()]
    for event, results in (
        (names.QUALITY_FAILED, report.failed(STOP) if report.newly_failed(before) else ()),
        (names.QUALITY_RECOVERED, report.recovered(before)),
        (names.QUALITY_QUARANTINED, report.failed(QUARANTINE)),
        (names.QUALITY_WARNED, report.failed(WARN)),
    ):
        if results:
            _emit_results(event, candidate, results, held)
    at = datetime.now(UTC)
    facts = [QualityFact(at=at, by=BY, run_id=run_id(), candidate=candidate, result=r) for r in report.results]
    warehouse.record_quality(facts)  # after the events: a run that dies between the two emits them twice, not never
    create_table_artifact([row(r) for r in report.results], key=artifact, description=f"Expectations, `{candidate}`")


def broken_suites(report: QualityReport) -> dict[str, str]:
    """Return the tables that break an expectation of severity `stop`, with the reason."""
    broken: dict[str, list[str]] = {}
    for result in report.failed(STOP):
        broken.setdefault(result.suite, []).append(str(result))
    return {suite: "; ".join(reasons) for suite, reasons in broken.items()}


def _emit_results(event: str, candidate: str, results: Sequence[QualityResult], held: str) -> None:
    reason = "; ".join(sorted(f"{r.suite}.{r.column}: {r.expectation}" for r in results))
    expectations = "; ".join(str(result) for result in results)
    payload = {"candidate": candidate, "expectations": expectations, "count": len(results), "held": held}
    emit(event, names.WAREHOUSE_RESOURCE, payload, reason=reason[:REASON_LENGTH])


def row(result: QualityResult) -> dict[str, str]:
    """Return a result as a row of the artifact's table."""
    return {name: str(value) for name, value in dict(result).items()}
