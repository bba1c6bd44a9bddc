"""The gate: Great Expectations looks at the candidates before any reader does."""

import tempfile
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.events import emit_event
from prefect.runtime import flow_run

from contracts import names
from contracts.errors import QualityFailed
from quality.gate import validate
from quality.report import QualityReport
from settings.tree import ROOT
from tasks.place import open_lake, open_warehouse
from tasks.retries import DELAYS_S, is_transient
from tasks.site import upload_site

REASON = 500
SUITES = ROOT / "expectations"


@task(task_run_name="validate {candidate}", retries=2, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient)
def validate_candidates(candidate: str) -> int:
    """Validate every candidate mart; returns how many expectations held.

    Raises:
        QualityFailed: an expectation of severity `stop` failed; the marts stay as they were.
    """
    warehouse = open_warehouse()
    with tempfile.TemporaryDirectory() as docs:
        report = validate(warehouse.candidate_url(candidate), SUITES, Path(docs))
        upload_site(open_lake(), Path(docs), "quality")
    create_table_artifact(
        [row(result) for result in report.results], key="quality", description=f"Expectations on `{candidate}`"
    )
    for result in report.failed("warn"):
        get_run_logger().warning("expectation failed (warn): %s", result)
    if not report.passed:
        _refuse(candidate, report)
    return sum(result.success for result in report.results)


def row(result: object) -> dict[str, object]:
    """One line of the artifact's table."""
    return {name: str(value) for name, value in dict(result).items()}  # type: ignore[call-overload]


def _refuse(candidate: str, report: QualityReport) -> None:
    failed = [str(result) for result in report.failed("stop")]
    broken = sorted(f"{r.suite}.{r.column}: {r.expectation}" for r in report.failed("stop"))
    emit_event(
        names.QUALITY_FAILED,
        resource={"prefect.resource.id": names.WAREHOUSE_RESOURCE, "millrace.reason": "; ".join(broken)[:REASON]},
        payload={"v": 1, "candidate": candidate, "failed": "; ".join(failed), "run_id": str(flow_run.id)},
    )
    raise QualityFailed(
        f"{candidate} did not pass {len(failed)} expectation(s): {'; '.join(failed)}. The marts stay as they were;"
        " mend the data or the model, then run model again"
    )
