"""Files and rows that break the contract in; unchanged copies in the lake's quarantine, and their reports, out."""

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_job.steps.files import DataFile
from beam_job.steps.guard import rejecting
from beam_job.steps.reasons import QuarantinedRows
from beam_job.steps.rows import Mask
from beam_job.steps.work import Work, quarantine_path, table_files
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import BatchObject, QuarantinedRow


def quarantine_file(
    work: Work, index: int, obj: BatchObject, reason: str, drift: dict[str, str] | None = None
) -> dict[str, Any]:
    """Quarantine a whole object and return its report; it counts its manifest's rows, or one if they are unknown."""
    code, _, detail = reason.partition(": ")
    count = 1 if obj.rows is None else obj.rows
    record = QuarantinedRow(
        reason=code, object=obj.name, generation=obj.generation, row=None, rows=count, detail=detail
    )
    table = pa.Table.from_pylist([{f"_quarantine_{name}": value for name, value in record.model_dump().items()}])
    with table_files(work.lake, quarantine_path(work.batch, "files", index)) as (file,):
        file.add(table)
    return {"rows": count, "ignored": 0, "quarantined": [record.model_dump()], "drift": drift or {}}


def quarantine_rows(work: Work, index: int, obj: BatchObject, quarantined: QuarantinedRows) -> None:
    """Copy quarantined rows unchanged into the lake's quarantine."""
    if not quarantined.reasons:
        return
    positions = np.array(sorted(quarantined.reasons), np.int64)
    with table_files(work.lake, quarantine_path(work.batch, "rows", index)) as (file,):
        for first, table in DataFile(work.lake, obj).chunks():
            rows = positions[(positions >= first) & (positions < first + table.num_rows)]
            if len(rows):
                with rejecting(obj.name):
                    copy = _with_reasons(writable(table.take(pa.array(rows - first))), obj, rows, quarantined)
                file.add(copy)


def writable(table: pa.Table) -> pa.Table:
    """Return the table with columns as text whose types Parquet lacks, such as intervals and unions."""
    for number, field in enumerate(table.schema):
        if not _is_writable(field.type):
            texts = [None if value is None else str(value) for value in table.column(number).to_pylist()]
            table = table.set_column(number, field.name, pa.array(texts, pa.string()))
    return table


@lru_cache
def _is_writable(kind: pa.DataType) -> bool:
    """Return whether a Parquet file can hold a column of this type."""
    try:
        pq.write_table(pa.table({"c": pa.nulls(0, kind)}), pa.BufferOutputStream())
    except pa.ArrowException:
        return False
    return True


def _with_reasons(table: pa.Table, obj: BatchObject, rows: Any, quarantined: QuarantinedRows) -> pa.Table:
    for name, values in (
        ("_quarantine_reason", pa.array([quarantined.reasons[int(row)][0] for row in rows])),
        ("_quarantine_detail", pa.array([quarantined.reasons[int(row)][1] for row in rows])),
        ("_quarantine_object", pa.array([obj.name] * len(rows))),
        ("_quarantine_generation", pa.array([obj.generation] * len(rows))),
        ("_quarantine_row", pa.array(rows)),
    ):
        table = table.append_column(name, values)
    return table


def quarantined_row(obj: BatchObject, row: int, reason: tuple[str, str]) -> QuarantinedRow:
    """Return the record of one quarantined row."""
    return QuarantinedRow(reason=reason[0], object=obj.name, generation=obj.generation, row=row, detail=reason[1])


def split_keys(keys: pa.Table, contract: StreamContract, quarantined: Mask) -> tuple[pa.Table, int]:
    """Return the readable keys of a snapshot's quarantined rows, by column, and the number of the other rows."""
    columns = {name: keys.column(f"key_{i}") for i, name in enumerate(contract.key)}
    readable = quarantined.copy()
    for column in columns.values():
        readable &= column.is_valid().to_numpy()
    if not columns:
        return pa.table({}), int((quarantined & ~readable).sum())
    return pa.table(columns).filter(pa.array(readable)), int((quarantined & ~readable).sum())
