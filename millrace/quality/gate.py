"""Validates tables with Great Expectations: SQL runs in the warehouse, no row is fetched but failing samples.

Great Expectations takes 14 s of CPU to import, so it is imported on use.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace.domain.errors import ContractError
from millrace.domain.quality import STOP, QualityResult
from millrace.quality.docs import index, pages, tidy
from millrace.quality.report import QualityReport
from millrace.quality.suites import Suite

SAMPLE = 5
MARTS_SCHEMA = "marts"


def validate(url: str, suites: Sequence[Suite], docs: Path | None = None) -> QualityReport:
    """Check marts of a candidate; builds Data Docs into `docs`.

    Raises:
        ContractError: a suite is wrong, or names a mart or an expectation that does not exist.
        Fatal: there is no such candidate, or it can't be opened.
    """
    if not suites:
        return QualityReport(())
    from millrace.quality.engine import open_context

    with open_context(url, docs, MARTS_SCHEMA) as (context, datasource):
        report = QualityReport(tuple(r for suite in suites for r in _validate_mart(context, datasource, suite)))
        if docs:
            context.build_data_docs()
            tidy(docs)
            (docs / "index.html").write_text(index(report.results, pages(docs)))
    return report


def validate_rows(url: str, suites: Sequence[Suite], queries: Mapping[str, str]) -> QualityReport:
    """Check the rows that a query gives for each stream, and no others. Raises as `validate` does."""
    asked = [suite for suite in suites if suite.stream in queries]
    if not asked:
        return QualityReport(())
    from millrace.quality.engine import open_context

    results: list[QualityResult] = []
    with open_context(url, None, "") as (context, datasource):
        for suite in asked:
            asset = datasource.add_query_asset(suite.name, query=queries[suite.stream])
            results += _run(context, asset, suite)
    return QualityReport(tuple(results))


def _validate_mart(context: Any, datasource: Any, suite: Suite) -> list[QualityResult]:
    try:
        asset = datasource.add_table_asset(suite.name, table_name=suite.mart)
    except Exception as error:  # Great Expectations wraps whatever the dialect raises
        raise ContractError(f"expectations/{suite.name}.yaml: the candidate has no such mart: {error}") from error
    return _run(context, asset, suite)


def _run(context: Any, asset: Any, suite: Suite) -> list[QualityResult]:
    import great_expectations as gx

    made = context.suites.add(gx.ExpectationSuite(name=suite.name))
    for expected in suite.expectations:
        made.add_expectation(_expectation(suite, expected.type, expected.args, expected.severity))
    batch = asset.add_batch_definition_whole_table("whole")
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=suite.name, data=batch, suite=made))
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=suite.name,
            validation_definitions=[definition],
            result_format={"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE},
        )
    )
    (outcome,) = checkpoint.run().run_results.values()
    return [_result(suite, one) for one in outcome.results]


def _expectation(suite: Suite, kind: str, args: dict[str, Any], severity: str) -> Any:
    import great_expectations.expectations as gxe

    name = "".join(part.capitalize() for part in kind.split("_"))
    found = getattr(gxe, name, None)
    if found is None:
        raise ContractError(f"expectations/{suite.name}.yaml: Great Expectations has no {kind}")
    try:
        return found(**args, meta={"severity": severity})
    except (ValueError, TypeError) as error:
        raise ContractError(f"expectations/{suite.name}.yaml: {kind}: {error}") from None


def _result(suite: Suite, one: Any) -> QualityResult:
    config, found = one.expectation_config, one.result or {}
    observed = found.get("observed_value")
    if observed is None and found.get("unexpected_count") is not None:
        observed = f"{found['unexpected_count']} of {found['element_count']} rows"
    trouble = _trouble(one.exception_info or {})
    return QualityResult(
        suite=suite.name,
        expectation=config.type,
        column=_columns(config.kwargs),
        severity=STOP if trouble else (config.meta or {}).get("severity", STOP),  # unknown is no warning
        success=bool(one.success),
        observed=str(trouble or ("" if observed is None else observed)),
        sample=tuple(str(v) for v in (found.get("partial_unexpected_list") or [])[:SAMPLE]),
    )


def _columns(given: dict[str, Any]) -> str:
    named = [given.get(key) for key in ("column", "column_A", "column_B")] + list(given.get("column_list") or [])
    return ", ".join(str(name) for name in named if name)


def _trouble(info: dict[str, Any]) -> str:
    """Why an expectation could not be evaluated; Great Expectations tells it once, or once per metric."""
    entries = info.values() if info and all(isinstance(v, dict) for v in info.values()) else [info]
    return "; ".join(str(e["exception_message"]) for e in entries if e.get("exception_message"))
