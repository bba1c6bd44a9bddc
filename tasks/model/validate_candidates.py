"""The gate: Great Expectations looks at the candidates before any reader does."""

import tempfile
from pathlib import Path

from prefect import task

from millrace.domain import names
from millrace.domain.model import Built
from millrace.lake.store import Lake
from millrace.quality.docs import index, pages
from millrace.quality.gate import validate
from millrace.quality.report import QualityReport
from millrace.quality.suites import load_suites
from millrace.settings.tree import ROOT
from millrace.warehouse.port import Warehouse
from tasks.context import open_lake, open_warehouse
from tasks.model.quality_results import keep_results
from tasks.model.site import upload_site
from tasks.retries import DELAYS_S, is_transient

SUITES = ROOT / "expectations"
SITE = f"{names.SITE}quality/"


@task(
    task_run_name="validate {built.candidate}",
    tags=[names.STEP_TAG],
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def validate_candidates(built: Built) -> int:
    """Validate every mart that was built anew; returns how many expectations held.

    Raises:
        QualityFailed: an expectation of severity `stop` failed; the marts stay as they were.
    """
    warehouse = open_warehouse()
    suites = [suite for suite in load_suites(SUITES) if suite.mart in built.marts]
    with tempfile.TemporaryDirectory() as docs:
        report = validate(warehouse.candidate_url(built.candidate), suites, Path(docs))
        if suites:
            _publish_docs(open_lake(), warehouse, report, Path(docs))
    keep_results(warehouse, report, built.candidate, "quality")
    return sum(result.success for result in report.results)


def _publish_docs(lake: Lake, warehouse: Warehouse, report: QualityReport, docs: Path) -> None:
    """Make the site show the newest results of every table, those of other runs too."""
    fresh = {result.suite for result in report.results}
    older = [fact.result for fact in warehouse.newest_quality() if fact.result.suite not in fresh]
    suites = {result.suite for result in older}
    kept = [o.name for o in lake.list(SITE) if _suite_of(o.name.removeprefix(SITE)) in suites]
    there = {_suite_of(p): p for p in (name.removeprefix(SITE) for name in kept) if p.startswith("validations/")}
    (docs / "index.html").write_text(index([*report.results, *older], there | pages(docs)))
    upload_site(lake, docs, "quality", kept)


def _suite_of(page: str) -> str:
    """Suite of a page of the Data Docs: `validations/<suite>/…` or `expectations/<suite>.html`."""
    return page.split("/")[1].removesuffix(".html") if "/" in page else ""
