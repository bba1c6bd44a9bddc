"""The quality gate: a URL and suites in, a report out; SQL runs in the warehouse, only samples of failures are read.

Great Expectations is imported on use, as its import takes 14 s of CPU.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace.domain.errors import ContractError
from millrace.domain.quality import STOP, UNCHECKED, WARN, QualityResult
from millrace.quality.render import results_document
from millrace.quality.report import QualityReport
from millrace.quality.root_error import root_error
from millrace.quality.suites import Suite

SAMPLE = 5
RESULT_FORMAT = {"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE}
MARTS_SCHEMA = "marts"


def validate(url: str, suites: Sequence[Suite], results: Path | None = None) -> QualityReport:
    """Validate marts of a candidate, and write the results from which Data Docs are rendered into a file.

    Raises:
        ContractError: a suite is wrong, or names a mart or an expectation that does not exist.
        CandidateMissing: the candidate's file does not exist.
        DatabaseUnreadable: the candidate can't be opened.
    """
    if not suites:
        return QualityReport(())
    from millrace.quality.engine import open_context

    with open_context(url, MARTS_SCHEMA) as (context, datasource):
        report = QualityReport(tuple(r for suite in suites for r in _validate_mart(context, datasource, suite)))
        if results:
            results.write_bytes(results_document(context))
    return report


def validate_rows(url: str, suites: Sequence[Suite], queries: Mapping[str, str]) -> QualityReport:
    """Validate only the rows of one query per stream. Raises the errors of `validate`."""
    selected = [suite for suite in suites if suite.stream in queries]
    if not selected:
        return QualityReport(())
    from millrace.quality.engine import open_context

    results: list[QualityResult] = []
    with open_context(url, "") as (context, datasource):
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
    for number in range(len(suite.expectations)):
        gx_suite.add_expectation(_expectation(suite, number))
    batch = asset.add_batch_definition_whole_table("whole")
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=suite.name, data=batch, suite=gx_suite)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=suite.name, validation_definitions=[definition], result_format=RESULT_FORMAT)
    )
    (outcome,) = checkpoint.run().run_results.values()
    return [_result(suite, validation) for validation in _isolated(suite, batch, outcome.results)]


def _isolated(suite: Suite, batch: Any, validations: Sequence[Any]) -> list[Any]:
    """Return the results, with those that have an error again, each by itself.

    Great Expectations reads several metrics by one query, and an error of one is then the error of all.
    """
    if sum(bool(_evaluation_error(validation)) for validation in validations) < 2:
        return list(validations)
    alone = batch.get_batch()
    return [
        alone.validate(_expectation(suite, validation.expectation_config.meta["number"]), result_format=RESULT_FORMAT)
        if _evaluation_error(validation)
        else validation
        for validation in validations
    ]


def _expectation(suite: Suite, number: int) -> Any:
    import great_expectations.expectations as gxe

    expected = suite.expectations[number]
    name = "".join(part.capitalize() for part in expected.type.split("_"))
    expectation = getattr(gxe, name, None)
    if expectation is None:
        raise ContractError(f"expectations/{suite.name}.yaml: Great Expectations has no {expected.type}")
    try:
        return expectation(**expected.args, meta={"severity": expected.severity, "number": number})
    except (ValueError, TypeError) as error:
        raise ContractError(f"expectations/{suite.name}.yaml: {expected.type}: {error}") from None


def _result(suite: Suite, validation: Any) -> QualityResult:
    config, details = validation.expectation_config, validation.result or {}
    observed = details.get("observed_value")
    if observed is None and details.get("unexpected_count") is not None:
        observed = f"{details['unexpected_count']:,} of {details['element_count']:,} rows"
    failure = _evaluation_error(validation)
    severity = (config.meta or {}).get("severity", STOP)
    return QualityResult(
        suite=suite.name,
        expectation=config.type,
        column=_columns(config.kwargs),
        severity=severity if severity == WARN or not failure else STOP,  # rows that no check could name must stop
        success=bool(validation.success),
        observed=f"{UNCHECKED}{root_error(failure)}" if failure else "" if observed is None else str(observed),
        sample=tuple(str(v) for v in (details.get("partial_unexpected_list") or [])[:SAMPLE]),
    )


def _columns(arguments: dict[str, Any]) -> str:
    columns = [arguments.get(key) for key in ("column", "column_A", "column_B")]
    columns += arguments.get("column_list") or []
    return ", ".join(str(name) for name in columns if name)


def _evaluation_error(validation: Any) -> str:
    """Return the error of an expectation's evaluation; Great Expectations has it once, or once per metric."""
    info = validation.exception_info or {}
    entries = info.values() if info and all(isinstance(v, dict) for v in info.values()) else [info]
    return "; ".join(str(e["exception_message"]) for e in entries if e.get("exception_message"))
