"""Rows and files that break the contract in; sentences that name the value, and what to do about it, out."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.json_text import json_texts
from beam_job.steps.types import is_binary, is_text
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import QuarantinedRow

MOST_SHOWN = 60  # characters of a value
AGAIN, CORRECT, SYNC = "write the object again", "correct {contract} or write the object again", "sync again"
ADVICE = {
    "file.unreadable": AGAIN,
    "file.count": AGAIN,
    "file.missing": "put the object back",
    "file.type": CORRECT,
    "file.new_column": CORRECT,
    "file.rows": CORRECT,
    "manifest.broken": "put the missing object back",
    "generation.incomplete": "",
}
ROW_ADVICE = "correct the row at the source, or correct {contract}"


@dataclass
class QuarantinedRows:
    """Rows that break the contract: reason and detail by position, and the columns that do not fit."""

    reasons: dict[int, tuple[str, str]] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)

    def add(
        self, invalid: npt.NDArray[np.bool_], reason: str, detail: str, first: int = 0, values: pa.Array | None = None
    ) -> None:
        """Add the rows where `invalid` is true, counting from `first`; the first reason of a row stays.

        `{value}` in `detail` is the row's value in `values`.
        """
        rows = np.flatnonzero(invalid)
        shown = [""] * len(rows) if values is None else value_texts(values.take(pa.array(rows)))
        for row, value in zip(rows.tolist(), shown, strict=True):
            self.reasons.setdefault(first + row, (reason, detail.replace("{value}", value)))


def value_texts(column: pa.Array) -> list[str]:
    """Return each value as a text that fits into a sentence: quoted, and shortened to 60 characters."""
    if is_text(column.type) and not pa.types.is_dictionary(column.type):
        column = pc.utf8_slice_codeunits(column.cast(pa.large_string()), 0, MOST_SHOWN + 1)
    elif is_binary(column.type):
        column = pc.binary_slice(column.cast(pa.large_binary()), 0, MOST_SHOWN + 1)
    return [_shortened(text or str(value)) for text, value in zip(json_texts(column), column, strict=True)]


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_SHOWN + 2 else f"{text[:MOST_SHOWN]}…"


def with_advice(row: QuarantinedRow, contract: StreamContract) -> QuarantinedRow:
    """Return the record with the contract's file, and the command that merges the row or file after a repair."""
    redrive = f"then run `millrace redrive {contract.id}`"
    repair = ADVICE.get(row.reason, AGAIN) if row.row is None else ROW_ADVICE
    advice = f"{repair.format(contract=f'sources/{contract.source}.yaml')}, {redrive}" if repair else SYNC
    return row.model_copy(update={"detail": f"{row.detail}; {advice}"})
