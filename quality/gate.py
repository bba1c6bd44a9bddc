"""Validates candidates with Great Expectations: SQL runs in the warehouse, no row is fetched but failing samples.

Great Expectations takes 14 s of CPU to import, so it is imported on use.
"""

from pathlib import Path
from typing import Any

from contracts.errors import ContractError
from contracts.model import QualityResult
from quality.docs import tidy
from quality.report import STOP, QualityReport
from quality.suites import Suite, load_suites

SAMPLE = 5
MARTS_SCHEMA = "marts"


def validate(candidate_url: str, suites: Path, docs: Path | None = None) -> QualityReport:
    """Check every mart of a candidate; builds Data Docs into `docs`.

    Raises:
        ContractError: a suite is wrong, or names a mart or an expectation that does not exist.
        Fatal: there is no such candidate, or it can't be opened.
    """
    loaded = load_suites(suites)
    from quality.engine import open_context

    with open_context(candidate_url, docs) as (context, datasource):
        results = [r for suite in loaded for r in _validate_suite(context, datasource, suite)]
        report = QualityReport(tuple(results))
        if docs:
            context.build_data_docs()
            tidy(docs, report)
    return report


def _validate_suite(context: Any, datasource: Any, suite: Suite) -> list[QualityResult]:
    import great_expectations as gx

    try:
        asset = datasource.add_table_asset(suite.mart, table_name=suite.mart)
    except Exception as error:  # Great Expectations wraps whatever the dialect raises
        raise ContractError(f"expectations/{suite.mart}.yaml: the candidate has no such mart: {error}") from error
    made = context.suites.add(gx.ExpectationSuite(name=suite.mart))
    for expected in suite.expectations:
        made.add_expectation(_expectation(suite, expected.type, expected.args, expected.severity))
    batch = asset.add_batch_definition_whole_table("whole")
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=suite.mart, data=batch, suite=made))
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=suite.mart, validation_definitions=[definition],
                      result_format={"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE})
    )  # fmt: skip
    (outcome,) = checkpoint.run().run_results.values()
    return [_result(suite, one) for one in outcome.results]


def _expectation(suite: Suite, kind: str, args: dict[str, Any], severity: str) -> Any:
    import great_expectations.expectations as gxe

    name = "".join(part.capitalize() for part in kind.split("_"))
    found = getattr(gxe, name, None)
    if found is None:
        raise ContractError(f"expectations/{suite.mart}.yaml: Great Expectations has no {kind}")
    try:
        return found(**args, meta={"severity": severity})
    except (ValueError, TypeError) as error:
        raise ContractError(f"expectations/{suite.mart}.yaml: {kind}: {error}") from None


def _result(suite: Suite, one: Any) -> QualityResult:
    config, found = one.expectation_config, one.result or {}
    observed = found.get("observed_value")
    if observed is None and found.get("unexpected_count") is not None:
        observed = f"{found['unexpected_count']} of {found['element_count']} rows"
    trouble = _trouble(one.exception_info or {})
    return QualityResult(
        suite=suite.mart,
        expectation=config.type,
        column=str(config.kwargs.get("column") or ""),
        severity=STOP if trouble else (config.meta or {}).get("severity", STOP),  # unknown is no warning
        success=bool(one.success),
        observed=str(trouble or ("" if observed is None else observed)),
        sample=tuple(str(v) for v in (found.get("partial_unexpected_list") or [])[:SAMPLE]),
    )


def _trouble(info: dict[str, Any]) -> str:
    """Why an expectation could not be evaluated; Great Expectations tells it once, or once per metric."""
    entries = info.values() if info and all(isinstance(v, dict) for v in info.values()) else [info]
    return "; ".join(str(e["exception_message"]) for e in entries if e.get("exception_message"))
