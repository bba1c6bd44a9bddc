"""Parts that are refused in; the error that says so, and the final state of their run, out."""

from collections.abc import Sequence
from typing import Any

from prefect import State
from prefect.states import Failed

from millrace.domain.errors import BuildFailed, QualityFailed
from millrace.domain.parts import RefusedPart

Refusal = State[Any]
REFUSED = "Refused"
SHOWN = 8


def refusal(candidate: str, refused: Sequence[RefusedPart]) -> QualityFailed | BuildFailed:
    """Return the error of refused parts: `BuildFailed` when dbt could not build one of them."""
    reasons = "; ".join(dict.fromkeys(each.reason for each in refused))
    stay = held_marts(refused)
    if all(each.by_gate for each in refused):
        return QualityFailed(
            f"{candidate} did not pass: {reasons}. {stay}; fix the data or the model: the next run includes it"
        )
    return BuildFailed(f"dbt could not build all of {candidate}: {reasons}. {stay}; correct the model or the data")


def held_marts(refused: Sequence[RefusedPart]) -> str:
    """Return which marts stay as they were, and that the others do not; '' when none is refused."""
    if not refused:
        return ""
    marts = sorted({mart for each in refused for mart in each.part.marts})
    shown = ", ".join(marts[:SHOWN]) + (f" and {len(marts) - SHOWN} more" if len(marts) > SHOWN else "")
    return f"These marts stay as they were: {shown}" if marts else "No mart depends on it"


def refuse(error: QualityFailed | BuildFailed) -> Refusal:
    """Return a failed state of its own name: the gate has its own alert, so the alert on failed runs skips it.

    Raises:
        BuildFailed: dbt failed, which is a failure as any other.
    """
    if isinstance(error, BuildFailed):
        raise error
    return Failed(name=REFUSED, message=str(error), data=error)
