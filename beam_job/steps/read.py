"""First step: a unit's objects in, keys and versions of their valid rows by shard out; invalid ones are quarantined.

Each step writes a small report of its unit or shard next to its files; counts come from these reports, never from
Beam's counters. All names are built from the batch and a number, so that a repeated step overwrites the same files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_job.snapshots import is_replaced
from beam_job.steps.drift import cure, differences, missing, reject_new_columns
from beam_job.steps.files import CHUNK_ROWS, DataFile
from beam_job.steps.guard import rejecting
from beam_job.steps.keys import hash_keys
from beam_job.steps.order import MEANINGS, order_columns
from beam_job.steps.partition import partition
from beam_job.steps.quarantine import quarantine_file, quarantine_rows, quarantined_row, split_keys
from beam_job.steps.reasons import QuarantinedRows
from beam_job.steps.rows import (
    AIRBYTE_COLUMNS,
    EMITTED_AT,
    EXTRACTED_AT,
    Mask,
    check_types,
    checked_columns,
    column_types,
    conform_column,
    deleted_mask,
)
from beam_job.steps.types import HELD, natural_type
from beam_job.steps.unchanged import as_json
from beam_job.steps.units import Unit
from beam_job.steps.versions import encode_versions, lowest_generation
from beam_job.steps.work import TableFile, Work, table_files
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import BatchObject
from millrace.domain.errors import FileRejected, FileVanished

MAX_QUARANTINED_ROWS = 10_000
UPSERT, DELETE = 0, 1


@dataclass
class Reading:
    """Results of reading a unit: counts by the object's index, and the reasons of objects that failed meanwhile."""

    objects: dict[int, dict[str, Any]] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)


def read_keys(work: Work, unit: Unit, shards: int, rejected: Mapping[int, str]) -> Iterator[tuple[int, pa.Table]]:
    """Yield (shard, keys) of a unit's valid rows; `rejected` has the reasons of objects to quarantine, by index."""
    reading, used = Reading(), set[int]()
    for keys in _chunks(work, unit, rejected, reading):
        for shard, part in _by_shard(keys, shards):
            used.add(shard)
            yield shard, part
    report = {"objects": reading.objects, "broken": reading.broken, "shards": sorted(used)}
    work.report("read", unit.number, report)


def _chunks(work: Work, unit: Unit, rejected: Mapping[int, str], reading: Reading) -> Iterator[pa.Table]:
    """Yield the keys of all objects of a unit, about CHUNK_ROWS at a time."""
    waiting: list[pa.Table] = []
    rows = 0
    for index, obj in unit.indexed_objects():
        for keys in _read_object(work, index, obj, rejected.get(index), reading):
            waiting.append(keys)
            rows += keys.num_rows
            if rows >= CHUNK_ROWS:
                yield pa.concat_tables(waiting)
                waiting, rows = [], 0
    if rows:
        yield pa.concat_tables(waiting)


def _read_object(work: Work, index: int, obj: BatchObject, reason: str | None, reading: Reading) -> Iterator[pa.Table]:
    """Yield the keys of one object, a chunk of rows at a time."""
    drift: dict[str, str] = {}
    cured: dict[str, str] = {}
    try:
        reject_known(obj, reason)
        file = DataFile(work.lake, obj, column_types(work.contract))
        with rejecting(obj.name):
            drift |= differences(file.schema, work.contract)
            cured |= cure(drift, work.contract, partial(reject_schema, file))
            reject_schema(file, work.contract)
    except FileVanished as error:
        report_vanished(work, index, obj, str(error), reading)
        return
    except FileRejected as error:
        reading.objects[index] = quarantine_file(work, index, obj, str(error), cured)
        return
    try:
        yield from _read_rows(work, index, obj, file, drift, reading)
    except FileVanished:
        raise  # it was deleted during the read: a repeated step reports it as vanished
    except FileRejected as error:
        reading.broken[index] = str(error)


def _widened(drift: dict[str, str], contract: StreamContract) -> dict[str, str]:
    """Return the types of declared columns only: a file of which no row is merged adds no column."""
    return {name: kind for name, kind in drift.items() if name in contract.columns}


def report_vanished(work: Work, index: int, obj: BatchObject, reason: str, reading: Reading) -> None:
    """Report a missing object: superseded if a newer snapshot replaced it, otherwise its manifest is wrong."""
    if is_replaced(work.batch, obj, work.contract):
        count = obj.rows or 0
        reading.objects[index] = {"rows": count, "ignored": count, "quarantined": [], "drift": {}}
    else:
        reading.broken[index] = reason


def reject_known(obj: BatchObject, reason: str | None) -> None:
    """Reject an object that an earlier attempt rejected, or that belongs to an incomplete snapshot."""
    if reason:
        raise FileRejected(reason)
    if not obj.complete:
        raise FileRejected(f"generation.incomplete: {obj.name}: its sync {obj.job_id} did not succeed")


def reject_schema(file: DataFile, contract: StreamContract) -> None:
    """Reject a file whose columns the contract does not allow."""
    reject_new_columns(file.schema, contract, file.name)
    reject_wrong_types(file, contract)


def reject_wrong_types(file: DataFile, contract: StreamContract) -> None:
    """Reject a file whose types contradict the contract."""
    try:
        check_types(file.schema, contract, file.name)
    except FileRejected as error:
        raise FileRejected(f"file.type: {error}") from error
    if file.schema.get_field_index(EXTRACTED_AT) < 0 and file.schema.get_field_index(EMITTED_AT) < 0:
        raise FileRejected(f"file.type: {file.name}: {EXTRACTED_AT} is missing; is this Airbyte's output?")


def _read_rows(
    work: Work, index: int, obj: BatchObject, file: DataFile, drift: dict[str, str], reading: Reading
) -> Iterator[pa.Table]:
    contract, quarantined = work.contract, QuarantinedRows()
    rows = ignored = unkeyed = 0
    generations: list[int] = []
    with table_files(work.lake, work.path("keep", index, ".parquet")) as (key_file,):
        for first, table in file.chunks(_columns_to_read(file, contract)):
            with rejecting(obj.name):
                keys, invalid = key_table(table, contract, obj, first, quarantined)
                reject_too_many(obj.name, quarantined.reasons)
                generations.append(lowest_generation(table, contract, obj))
                deletes = keys.column("kind").to_numpy() == DELETE
                skipped = ~invalid & deletes if contract.deletes == "ignore" else np.zeros(len(invalid), np.bool_)
                chosen = _with_index(keys, index, keyed=bool(contract.key)).filter(pa.array(~invalid & ~skipped))
            ignored += int(skipped.sum())
            rows += len(invalid)
            if contract.mode == "overwrite" and invalid.any():
                unkeyed += _keep(key_file, keys, contract, invalid)
            yield chosen
        reject_wrong_count(obj, rows, file.rows)
        kept_rows = key_file.rows
    quarantine_rows(work, index, obj, quarantined)
    if 0 < rows == len(quarantined.reasons):
        drift = _widened(drift, contract)
    drift |= {n: kind for n in quarantined.columns if (kind := natural_type(file.schema.field(n).type))}
    reading.objects[index] = {
        "rows": rows,
        "ignored": ignored,
        "unkeyed": unkeyed,
        "kept": kept_rows,
        "generation": min(generations, default=obj.generation_id),
        "drift": drift,
        "lost": missing(file.schema, contract),
        "quarantined": [quarantined_row(obj, *item).model_dump() for item in sorted(quarantined.reasons.items())],
    }


def reject_wrong_count(obj: BatchObject, rows: int, footer_rows: int | None) -> None:
    """Reject an object whose number of rows differs from its manifest, or else from its footer."""
    expected = footer_rows if obj.rows is None else obj.rows
    if expected not in (None, rows):
        raise FileRejected(f"file.count: {obj.name}: {rows} rows were read, expected {expected}")


def _columns_to_read(file: DataFile, contract: StreamContract) -> list[str]:
    """Return the columns that decide a row's key, its order and its validity."""
    checked = [name for name in checked_columns(file.schema, contract) if name not in file.bounded]
    return list(dict.fromkeys([*contract.key, *contract.order, *AIRBYTE_COLUMNS, *checked]))


def reject_too_many(name: str, reasons: Mapping[int, tuple[str, str]]) -> None:
    """Reject the whole file when too many rows are quarantined: the contract or the file is wrong."""
    if len(reasons) > MAX_QUARANTINED_ROWS:
        _, (reason, detail) = min(reasons.items())
        raise FileRejected(
            f"file.rows: {name}: more than {MAX_QUARANTINED_ROWS:,} rows are invalid; first {reason}: {detail}"
        )


def _keep(key_file: TableFile, keys: pa.Table, contract: StreamContract, invalid: Mask) -> int:
    """Keep the keys of a snapshot's quarantined rows, as they are not absent; return how many rows have no key."""
    readable, unkeyed = split_keys(keys, contract, invalid)
    if readable.num_rows:
        key_file.add(readable)
    return unkeyed


def key_table(
    table: pa.Table, contract: StreamContract, obj: BatchObject, first: int, quarantined: QuarantinedRows
) -> tuple[pa.Table, Mask]:
    """Return `hash`, `version`, `kind`, `row` and the key columns of every row, and a mask of the invalid rows."""
    columns, types = {}, column_types(contract)
    invalid_rows = np.zeros(table.num_rows, np.bool_)
    for name in dict.fromkeys([*contract.key, *contract.order, *checked_columns(table.schema, contract)]):
        values = as_json(table.column(name).combine_chunks(), name, contract)
        columns[name], invalid = conform_column(values, types[name])
        if invalid is not None and invalid.any():
            detail = f"{name} is {{value}} ({values.type}), which does not fit {types[name]} without loss"
            detail += f": it holds {HELD[types[name]]}" if types[name] in HELD else ""
            quarantined.add(invalid, "row.type", detail, first, values)
            quarantined.columns.add(name)
            invalid_rows |= invalid
    order, meaningless = order_columns(columns, contract)
    for name, invalid in meaningless.items():
        if invalid.any():
            detail = f"order column {name} is {{value}}, which does not mean {MEANINGS[contract.order_kinds[name]]}"
            quarantined.add(invalid, "row.order", detail, first, columns[name])
            invalid_rows |= invalid
    for name in contract.key:
        if columns[name].null_count:
            null = columns[name].is_null().to_numpy(zero_copy_only=False)
            quarantined.add(null, "key.null", f"key column {name} is NULL", first)
            invalid_rows |= null
    rows = np.arange(first, first + table.num_rows, dtype=np.int64)
    version = encode_versions(table, contract, obj, order, rows)
    key_columns = {f"key_{i}": columns[name] for i, name in enumerate(contract.key)}
    hashes = hash_keys(list(key_columns.values())) if key_columns else rows.astype(np.uint64)
    own = {"hash": pa.array(hashes), "version": version, "kind": pa.array(row_kinds(table, contract)), "row": rows}
    return pa.table(own | key_columns), invalid_rows


def row_kinds(table: pa.Table, contract: StreamContract) -> npt.NDArray[np.int8]:
    """Return the kind of each row: UPSERT, or DELETE if the row says that its key was deleted."""
    if contract.mode != "cdc":
        return np.full(table.num_rows, UPSERT, np.int8)
    return np.where(deleted_mask(table), DELETE, UPSERT).astype(np.int8)


def _with_index(keys: pa.Table, index: int, *, keyed: bool) -> pa.Table:
    """Add the object's index to its keys; in a stream without a key each row of each object gets a key of its own."""
    if not keyed:
        position = [keys.column("row").combine_chunks(), pa.array(np.full(keys.num_rows, index, np.int64))]
        keys = keys.set_column(keys.column_names.index("hash"), "hash", pa.array(hash_keys(position)))
        keys = keys.append_column("key_0", position[0]).append_column("key_1", position[1])
    return keys.append_column("index", pa.array(np.full(keys.num_rows, index, np.int32)))


def _by_shard(keys: pa.Table, shards: int) -> Iterator[tuple[int, pa.Table]]:
    if shards > 1:
        yield from partition(keys, keys.column("hash").to_numpy() % np.uint64(shards))
    elif keys.num_rows:
        yield 0, keys
