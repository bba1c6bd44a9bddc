"""Keeps what the gate found, and tells of what changed: an alert says a thing once, until it holds again."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect.artifacts import create_table_artifact
from prefect.events import emit_event
from prefect.runtime import flow_run

from millrace.domain import names
from millrace.domain.errors import QualityFailed
from millrace.domain.quality import QUARANTINE, WARN, QualityFact, QualityResult
from millrace.quality.report import QualityReport
from millrace.warehouse.port import Warehouse
from tasks.context import run_id

BY = "model"
REASON = 500


def keep_results(warehouse: Warehouse, report: QualityReport, candidate: str, artifact: str) -> None:
    """Emit what is new, add the results to `ops.quality`, and show them at the run.

    Raises:
        QualityFailed: an expectation of severity `stop` failed; the marts stay as they were.
    """
    before = [fact.result for fact in warehouse.newest_quality()]
    for event, results in (
        (names.QUALITY_FAILED, report.failed("stop") if report.broken_since(before) else ()),
        (names.QUALITY_RECOVERED, report.mended_since(before)),
        (names.QUALITY_QUARANTINED, report.failed(QUARANTINE)),
        (names.QUALITY_WARNED, report.failed(WARN)),
    ):
        if results:
            _tell(event, candidate, results)
    at = datetime.now(UTC)
    facts = [QualityFact(at=at, by=BY, run_id=run_id(), candidate=candidate, result=r) for r in report.results]
    warehouse.record_quality(facts)  # after the events: a run that dies between tells twice, never not at all
    create_table_artifact([row(r) for r in report.results], key=artifact, description=f"Expectations, `{candidate}`")
    if not report.passed:
        failed = [str(result) for result in report.failed("stop")]
        raise QualityFailed(
            f"{candidate} did not pass {len(failed)} expectation(s): {'; '.join(failed)}. The marts stay as they were;"
            " mend the data or the model: the next run takes it in"
        )


def _tell(event: str, candidate: str, results: Sequence[QualityResult]) -> None:
    reason = "; ".join(sorted(f"{r.suite}.{r.column}: {r.expectation}" for r in results))
    emit_event(
        event,
        resource={"prefect.resource.id": names.WAREHOUSE_RESOURCE, "millrace.reason": reason[:REASON]},
        payload={
            "v": 1,
            "candidate": candidate,
            "expectations": "; ".join(str(result) for result in results),
            "count": len(results),
            "run_id": str(flow_run.id),
        },
    )


def row(result: QualityResult) -> dict[str, str]:
    """One line of the artifact's table."""
    return {name: str(value) for name, value in dict(result).items()}
