"""The gate after the build: Great Expectations validates the candidates before readers see them."""

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from millrace.domain import names
from millrace.domain.model import BuiltCandidate
from millrace.domain.parts import Part, RefusedPart, refuse_parts
from millrace.project import current_project
from millrace.quality.gate import validate
from millrace.quality.suites import load_suites
from tasks.context import open_lake, open_warehouse
from tasks.model.quality_results import broken_suites, record_results
from tasks.model.refuse import held_marts, refusal
from tasks.retries import transient_task


@transient_task(task_run_name="validate {built.candidate}", tags=[names.STEP_TAG], retries=2)
def validate_candidates(built: BuiltCandidate) -> BuiltCandidate:
    """Validate every mart of the candidate; return the candidate without the parts that do not pass.

    Raises:
        QualityFailed: no part is left; the marts stay as they were.
        BuildFailed: no part is left, and dbt could not build one of them.
    """
    warehouse = open_warehouse()
    suites = [suite for suite in load_suites(current_project().expectations) if suite.mart in built.marts]
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        report = validate(warehouse.candidate_url(built.candidate), suites, results)
        passed = refuse_marts(built, broken_suites(report))
        record_results(warehouse, report, built.candidate, "quality", held=held_marts(passed.refused))
        if suites:  # after the record: the pages are rendered from both
            open_lake().upload(
                names.gate_results_path(datetime.now(UTC), built.candidate), str(results), "application/json"
            )
    if passed.is_empty:
        raise refusal(built.candidate, passed.refused)
    return passed


def refuse_marts(built: BuiltCandidate, broken: Mapping[str, str]) -> BuiltCandidate:
    """Return the candidate without the parts that have a broken mart; `broken` has the reasons.

    A candidate without parts comes from an older version of the platform: it is refused as a whole.
    """
    if broken and not built.parts:
        all_of_it = Part(streams=built.work.streams, models=built.marts, tables=built.marts, marts=built.marts)
        refused = RefusedPart(part=all_of_it, reason="; ".join(broken.values()))
        nothing = built.work.model_copy(update={"batches": (), "streams": ()})
        return built.model_copy(update={"work": nothing, "marts": (), "refused": (refused,)})
    reasons = {
        part.name: "; ".join(broken[mart] for mart in part.marts if mart in broken)
        for part in built.parts
        if set(part.marts) & set(broken)
    }
    return built.refuse(refuse_parts(built.parts, reasons, by_gate=True))
