"""The quality gate: a URL and suites in, a report out; SQL runs in the warehouse, only samples of failures are read.

Great Expectations is imported on use, as its import takes 14 s of CPU.
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
    """Validate marts of a candidate, and build Data Docs into `docs`.

    Raises:
        ContractError: a suite is wrong, or names a mart or an expectation that does not exist.
        CandidateMissing: the candidate's file does not exist.
        DatabaseUnreadable: the candidate can't be opened.
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
    """Validate only the rows of one query per stream. Raises the errors of `validate`."""
    selected = [suite for suite in suites if suite.stream in queries]
    if not selected:
        return QualityReport(())
    from millrace.quality.engine import open_context

    results: list[QualityResult] = []
    with open_context(url, None, "") as (context, datasource):
        for suite in selected:
            asset = datasource.add_query_asset(suite.name, query=queries[suite.stream])
            results += _run(context, asset, suite)
    return QualityReport(tuple(results))


def _validate_mart(context: Any, datasource: Any, suite: Suite) -> list[QualityResult]:
    try:
        asset = datasource.add_table_asset(suite.name, table_name=suite.mart)
    except Exception as error:  # Great Expectations wraps all errors of the dialect
        raise ContractError(f"expectations/{suite.name}.yaml: the candidate has no such mart: {error}") from error
    return _run(context, asset, suite)


def _run(context: Any, asset: Any, suite: Suite) -> list[QualityResult]:
    import great_expectations as gx

    gx_suite = context.suites.add(gx.ExpectationSuite(name=suite.name))
    for expected in suite.expectations:
        gx_suite.add_expectation(_expectation(suite, expected.type, expected.args, expected.severity))
    batch = asset.add_batch_definition_whole_table("whole")
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=suite.name, data=batch, suite=gx_suite)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=suite.name,
            validation_definitions=[definition],
            result_format={"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE},
        )
    )
    (outcome,) = checkpoint.run().run_results.values()
    return [_result(suite, result) for result in outcome.results]


def _expectation(suite: Suite, kind: str, args: dict[str, Any], severity: str) -> Any:
    import great_expectations.expectations as gxe

    name = "".join(part.capitalize() for part in kind.split("_"))
    expectation = getattr(gxe, name, None)
    if expectation is None:
        raise ContractError(f"expectations/{suite.name}.yaml: Great Expectations has no {kind}")
    try:
        return expectation(**args, meta={"severity": severity})
    except (ValueError, TypeError) as error:
        raise ContractError(f"expectations/{suite.name}.yaml: {kind}: {error}") from None


def _result(suite: Suite, validation: Any) -> QualityResult:
    config, details = validation.expectation_config, validation.result or {}
    observed = details.get("observed_value")
    if observed is None and details.get("unexpected_count") is not None:
        observed = f"{details['unexpected_count']} of {details['element_count']} rows"
    failure = _evaluation_error(validation.exception_info or {})
    return QualityResult(
        suite=suite.name,
        expectation=config.type,
        column=_columns(config.kwargs),
        severity=STOP if failure else (config.meta or {}).get("severity", STOP),  # an unknown result must stop
        success=bool(validation.success),
        observed=str(failure or ("" if observed is None else observed)),
        sample=tuple(str(v) for v in (details.get("partial_unexpected_list") or [])[:SAMPLE]),
    )


def _columns(arguments: dict[str, Any]) -> str:
    columns = [arguments.get(key) for key in ("column", "column_A", "column_B")]
    columns += arguments.get("column_list") or []
    return ", ".join(str(name) for name in columns if name)


def _evaluation_error(info: dict[str, Any]) -> str:
    """Return the error of an expectation's evaluation; Great Expectations has it once, or once per metric."""
    entries = info.values() if info and all(isinstance(v, dict) for v in info.values()) else [info]
    return "; ".join(str(e["exception_message"]) for e in entries if e.get("exception_message"))
