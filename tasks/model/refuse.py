"""How a run ends whose candidates did not pass the gate."""

from typing import Any

from prefect import State
from prefect.states import Failed

from millrace.domain.errors import QualityFailed

Refusal = State[Any]
REFUSED = "Refused"


def refused(why: QualityFailed) -> Refusal:
    """A failed state of its own name: the gate has told people already, so the alert on failed runs must not."""
    return Failed(name=REFUSED, message=str(why), data=why)
