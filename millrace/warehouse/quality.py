"""What the engines share of a model run's questions: rows of `ops.quality`, and how many days are worth naming."""

from collections.abc import Sequence
from typing import Any

from millrace.domain.quality import QualityFact, QualityResult

MOST_DAYS = 400  # beyond that, building a table whole is cheaper than naming its days
RESULT = ("suite", "expectation", "column", "severity", "success", "observed", "sample")


def result_values(fact: QualityFact) -> dict[str, Any]:
    """Columns of a fact's result, in the order of the table."""
    return {name: getattr(fact.result, name) for name in RESULT[:-1]} | {"sample": list(fact.result.sample)}


def fact(row: Sequence[Any]) -> QualityFact:
    """A row of `ops.quality`: instant, asker, run, candidate, and the result's columns."""
    at, by, run_id, candidate, *result = row
    return QualityFact(
        at=at,
        by=by,
        run_id=run_id,
        candidate=candidate,
        result=QualityResult.model_validate(dict(zip(RESULT, result, strict=True))),
    )
