"""Refused files and rows: kept beside the lake's data as they came, and told to the driver."""

from typing import Any

import numpy as np
import pyarrow as pa

from beam_job.steps.files import DataFile
from beam_job.steps.rows import Mask, Refused
from beam_job.steps.work import Work, refused_path, table_files
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import BatchObject, QuarantinedRow


def quarantine_file(
    work: Work, place: int, what: BatchObject, why: str, drift: dict[str, str] | None = None
) -> dict[str, Any]:
    """Refuse a whole object; it counts its manifest's rows, or one when no one knows. Returns its report."""
    code, _, detail = why.partition(": ")
    count = 1 if what.rows is None else what.rows
    refusal = QuarantinedRow(
        reason=code, object=what.name, generation=what.generation, row=None, rows=count, detail=detail
    )
    kept = pa.Table.from_pylist([{f"_quarantine_{name}": value for name, value in refusal.model_dump().items()}])
    with table_files(work.lake, refused_path(work.batch, "files", place)) as (file,):
        file.add(kept)
    return {"rows": count, "ignored": 0, "quarantined": [refusal.model_dump()], "drift": drift or {}}


def quarantine_rows(work: Work, place: int, what: BatchObject, refused: Refused) -> None:
    """Keep refused rows, as they came, beside the lake's data."""
    if not refused.reasons:
        return
    bad = np.array(sorted(refused.reasons), np.int64)
    with table_files(work.lake, refused_path(work.batch, "rows", place)) as (file,):
        for first, table in DataFile(work.lake, what).chunks():
            rows = bad[(bad >= first) & (bad < first + table.num_rows)]
            if len(rows):
                file.add(_with_reasons(table.take(pa.array(rows - first)), what, rows, refused))


def _with_reasons(table: pa.Table, what: BatchObject, rows: Any, refused: Refused) -> pa.Table:
    for name, values in (
        ("_quarantine_reason", pa.array([refused.reasons[int(row)][0] for row in rows])),
        ("_quarantine_detail", pa.array([refused.reasons[int(row)][1] for row in rows])),
        ("_quarantine_object", pa.array([what.name] * len(rows))),
        ("_quarantine_generation", pa.array([what.generation] * len(rows))),
        ("_quarantine_row", pa.array(rows)),
    ):
        table = table.append_column(name, values)
    return table


def refusal(what: BatchObject, row: int, why: tuple[str, str]) -> QuarantinedRow:
    """One refused row."""
    return QuarantinedRow(reason=why[0], object=what.name, generation=what.generation, row=row, detail=why[1])


def split_keys(keys: pa.Table, contract: StreamContract, refused: Mask) -> tuple[pa.Table, int]:
    """Of a snapshot's refused rows: the keys that can be read, by the contract's names, and how many can't."""
    columns = {name: keys.column(f"key_{i}") for i, name in enumerate(contract.key)}
    readable = refused.copy()
    for column in columns.values():
        readable &= column.is_valid().to_numpy()
    if not columns:
        return pa.table({}), int((refused & ~readable).sum())
    return pa.table(columns).filter(pa.array(readable)), int((refused & ~readable).sum())
