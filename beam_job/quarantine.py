"""Refused files and rows: kept beside the lake's data as they came, and told to the driver."""

import pyarrow as pa

from beam_job.files import DataFile
from beam_job.rows import Mask, Refused
from beam_job.work import Work, write_parquet
from contracts import names
from contracts.batch import BatchObject, QuarantinedRow


def quarantine_file(work: Work, place: int, what: BatchObject, why: str, drift: dict[str, str] | None = None) -> None:
    """Refuse a whole object; it counts its manifest's rows, or one when no one knows."""
    code, _, detail = why.partition(": ")
    count = 1 if what.rows is None else what.rows
    refusal = QuarantinedRow(
        reason=code, object=what.name, generation=what.generation, row=None, rows=count, detail=detail
    )
    kept = pa.Table.from_pylist([{f"_quarantine_{name}": value for name, value in refusal.model_dump().items()}])
    prefix = names.quarantine_prefix(work.contract.source, work.contract.stream, work.batch.id)
    write_parquet(work, f"{prefix}files-{place:05d}.parquet", kept)
    body = {"rows": count, "ignored": 0, "quarantined": [refusal.model_dump()], "drift": drift or {}}
    work.report("read", place, body)


def report_vanished(work: Work, place: int, what: BatchObject, why: str) -> None:
    """An object that a newer snapshot replaced is superseded; any other that is gone spoils its manifest."""
    if what.floor < work.batch.newest_snapshot:
        count = what.rows or 0
        work.report("read", place, {"rows": count, "ignored": count, "quarantined": [], "drift": {}})
    else:
        work.report("broken", place, {"why": why})


def quarantine_rows(work: Work, place: int, what: BatchObject, file: DataFile, refused: Refused) -> None:
    """Keep refused rows, as they came, beside the lake's data."""
    if not refused.reasons:
        return
    bad = sorted(refused.reasons)
    table = file.read().take(pa.array(bad))
    for name, values in (
        ("_quarantine_reason", [refused.reasons[row][0] for row in bad]),
        ("_quarantine_detail", [refused.reasons[row][1] for row in bad]),
        ("_quarantine_object", [what.name] * len(bad)),
        ("_quarantine_generation", [what.generation] * len(bad)),
        ("_quarantine_row", bad),
    ):
        table = table.append_column(name, pa.array(values))
    prefix = names.quarantine_prefix(work.contract.source, work.contract.stream, work.batch.id)
    write_parquet(work, f"{prefix}rows-{place:05d}.parquet", table)


def refusal(what: BatchObject, row: int, why: tuple[str, str]) -> QuarantinedRow:
    """One refused row."""
    return QuarantinedRow(reason=why[0], object=what.name, generation=what.generation, row=row, detail=why[1])


def keep_keys(work: Work, place: int, keys: pa.Table, refused: Mask) -> int:
    """Leave the keys of refused rows of a snapshot, as they are not absent; returns how many rows have no key."""
    columns = {name: keys.column(f"key_{i}") for i, name in enumerate(work.contract.key)}
    readable = refused.copy()
    for column in columns.values():
        readable &= column.is_valid().to_numpy()
    if columns and readable.any():
        write_parquet(work, work.path("keep", place, ".parquet"), pa.table(columns).filter(pa.array(readable)))
    return int((refused & ~readable).sum())
