"""The gate after the build: Great Expectations validates the candidates before readers see them."""

import tempfile
from pathlib import Path

from millrace.domain import names
from millrace.domain.model import BuiltCandidate
from millrace.quality.gate import validate
from millrace.quality.suites import load_suites
from millrace.settings.tree import ROOT
from tasks.context import open_lake, open_warehouse
from tasks.model.data_docs import publish_docs
from tasks.model.quality_results import record_results
from tasks.retries import transient_task

SUITES = ROOT / "expectations"


@transient_task(task_run_name="validate {built.candidate}", tags=[names.STEP_TAG], retries=2)
def validate_candidates(built: BuiltCandidate) -> int:
    """Validate every mart of the candidate; returns the number of expectations that hold.

    Raises:
        QualityFailed: an expectation of severity `stop` failed; the marts stay as they were.
    """
    warehouse = open_warehouse()
    suites = [suite for suite in load_suites(SUITES) if suite.mart in built.marts]
    with tempfile.TemporaryDirectory() as docs:
        report = validate(warehouse.candidate_url(built.candidate), suites, Path(docs))
        if suites:
            fresh = {result.suite for result in report.results}
            older = [fact.result for fact in warehouse.newest_quality() if fact.result.suite not in fresh]
            publish_docs(open_lake(), Path(docs), report.results, older)
    record_results(warehouse, report, built.candidate, "quality")
    return sum(result.success for result in report.results)
