"""Columns of staged upserts in; those with a text that stands for an unchanged value out.

The steps choose winners by keys and versions alone, so that they meet such a text only when they write the winners.
The attempt then ends. The next one, whose name says so, stages every upsert of the batch: any of them may have the
value that a winner lacks, and the warehouse looks for it.
"""

import json
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.types import is_text
from millrace.contracts.stream import StreamContract

EVERY = "every-"


class UnchangedFound(Exception):
    """A winner has a text that stands for an unchanged value, and the attempt stages winners only."""

    def __init__(self, columns: set[str]) -> None:
        super().__init__(f"unchanged values in {', '.join(sorted(columns))}")
        self.columns = columns


def with_every_upsert(attempt: str) -> str:
    """Return the name of an attempt that stages every upsert."""
    return f"{EVERY}{attempt}"


def stages_every_upsert(attempt: str) -> bool:
    """Return whether an attempt stages every upsert, not only winners."""
    return attempt.startswith(EVERY)


def unchanged_columns(columns: Mapping[str, pa.Array], contract: StreamContract) -> set[str]:
    """Return the columns that have the text in some row."""
    return {name for name, text in contract.placeholders.items() if pc.any(pc.equal(columns[name], text)).as_py()}


def as_json(values: pa.Array, name: str, contract: StreamContract) -> pa.Array:
    """Return a file's column, in which the text becomes JSON if the table's column is of that type."""
    mark = contract.placeholders.get(name)
    if mark is None or contract.columns[name].type != "json" or not is_text(values.type):
        return values
    plain, quoted = (pa.scalar(text, values.type) for text in (json.loads(mark), mark))
    return pc.if_else(pc.equal(values, plain), quoted, values)
