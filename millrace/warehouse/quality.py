"""Rows of `ops.quality` on every engine: a fact in, its column values out, and back."""

from collections.abc import Sequence
from typing import Any

from millrace.domain.quality import QualityFact, QualityResult

MOST_DAYS = 400  # beyond that, rebuilding a table is cheaper than listing its changed days
RESULT = ("suite", "expectation", "column", "severity", "success", "observed", "sample")


def result_values(fact: QualityFact) -> dict[str, Any]:
    """Return the columns of a fact's result, in the order of the table."""
    return {name: getattr(fact.result, name) for name in RESULT[:-1]} | {"sample": list(fact.result.sample)}


def fact(row: Sequence[Any]) -> QualityFact:
    """Return the fact of a row of `ops.quality`: instant, asker, run, candidate, and the result's columns."""
    at, by, run_id, candidate, *result = row
    return QualityFact(
        at=at,
        by=by,
        run_id=run_id,
        candidate=candidate,
        result=QualityResult.model_validate(dict(zip(RESULT, result, strict=True))),
    )
