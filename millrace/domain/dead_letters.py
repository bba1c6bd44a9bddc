"""A message that could not be delivered, and what became of it."""

from typing import Literal

from millrace.domain.landing import Count
from millrace.domain.types import Frozen

Topic = Literal[  # those of contracts.names, as choices
    "lake-landed", "warehouse-merged", "marts-published", "ingest-requested", "secret-rotated", "airbyte-completed"
]
Action = Literal["list", "redrive", "drop"]
Done = Literal["kept", "redriven", "dropped", "would be redriven", "would be dropped"]


class Sorted(Frozen):
    """What became of a dead letter; `why` is the reason for which it would be refused now."""

    topic: str
    id: str
    done: Done
    published: str
    attempts: Count
    why: str
    attributes: dict[str, str]
    data: str
