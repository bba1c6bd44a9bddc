"""The outcome of handling one message that could not be delivered, as a type."""

from typing import Literal

from millrace.domain.landing import Count
from millrace.domain.types import Frozen

Topic = Literal[  # the topics of domain.names, as choices
    "lake-landed", "warehouse-merged", "marts-published", "ingest-requested", "secret-rotated", "airbyte-completed"
]
Action = Literal["list", "redrive", "drop"]
Done = Literal["kept", "redriven", "dropped", "would be redriven", "would be dropped"]


class DeadLetterOutcome(Frozen):
    """A dead letter and the action taken on it; `why` is the reason for which the gateway would reject it now."""

    topic: str
    id: str
    done: Done
    published: str
    attempts: Count
    why: str
    attributes: dict[str, str]
    data: str
