"""The final state of a run whose candidates did not pass the gate."""

from typing import Any

from prefect import State
from prefect.states import Failed

from millrace.domain.errors import QualityFailed

Refusal = State[Any]
REFUSED = "Refused"


def refuse(error: QualityFailed) -> Refusal:
    """Return a failed state of its own name: the gate has its own alert, so the alert on failed runs skips it."""
    return Failed(name=REFUSED, message=str(error), data=error)
