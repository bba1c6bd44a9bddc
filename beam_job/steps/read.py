"""First step: keys and versions of a unit's good rows, by shard; refuses rows and files that break the contract.

Each step leaves a small report of its unit or shard beside its files; counts come from them, never from Beam's
counters. All names are made of the batch and a number, so that a repeat overwrites the same files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_job.steps.drift import differences, missing, natural, refuse_new_columns
from beam_job.steps.files import CHUNK_ROWS, DataFile
from beam_job.steps.keys import hash_keys
from beam_job.steps.quarantine import quarantine_file, quarantine_rows, refusal, split_keys
from beam_job.steps.rows import (
    DELETED_AT,
    EMITTED_AT,
    EXTRACTED_AT,
    TOLD,
    Mask,
    Refused,
    check_types,
    checked_columns,
    column_types,
    conform_column,
)
from beam_job.steps.units import Unit
from beam_job.steps.versions import encode_versions
from beam_job.steps.work import TableFile, Work, table_files
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import BatchObject
from millrace.domain.errors import FileRejected, FileVanished

MOST_REFUSED = 10_000
UPSERT, DELETE = 0, 1


@dataclass
class Reading:
    """What was found in a unit's objects: counts by place, and those that broke while their rows were read."""

    objects: dict[int, dict[str, Any]] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)


def read_keys(work: Work, unit: Unit, shards: int, rejected: Mapping[int, str]) -> Iterator[tuple[int, pa.Table]]:
    """(shard, keys) of a unit's good rows; `rejected` names objects, by place, that are refused whole, and why."""
    reading, used = Reading(), set[int]()
    for keys in _chunks(work, unit, rejected, reading):
        for shard, part in _by_shard(keys, shards):
            used.add(shard)
            yield shard, part
    report = {"objects": reading.objects, "broken": reading.broken, "shards": sorted(used)}
    work.report("read", unit.number, report)


def _chunks(work: Work, unit: Unit, rejected: Mapping[int, str], reading: Reading) -> Iterator[pa.Table]:
    """Keys of all objects of a unit, about CHUNK_ROWS at a time."""
    waiting: list[pa.Table] = []
    rows = 0
    for place, what in unit.places():
        for keys in _read_object(work, place, what, rejected.get(place), reading):
            waiting.append(keys)
            rows += keys.num_rows
            if rows >= CHUNK_ROWS:
                yield pa.concat_tables(waiting)
                waiting, rows = [], 0
    if rows:
        yield pa.concat_tables(waiting)


def _read_object(work: Work, place: int, what: BatchObject, why: str | None, reading: Reading) -> Iterator[pa.Table]:
    """Keys of one object, some rows at a time."""
    drift: dict[str, str] = {}
    try:
        refuse_known(what, why)
        file = DataFile(work.lake, what)
        drift |= differences(file.schema, work.contract)
        refuse_new_columns(file.schema, work.contract, what.name)
        refuse_unknown_types(file, work.contract)
    except FileVanished as error:
        report_vanished(work, place, what, str(error), reading)
        return
    except FileRejected as error:
        reading.objects[place] = quarantine_file(work, place, what, str(error), drift)
        return
    try:
        yield from _read_rows(work, place, what, file, drift, reading)
    except FileVanished:
        raise  # it went while it was read: a repeat finds it gone
    except FileRejected as error:
        reading.broken[place] = str(error)
    except pa.ArrowException as error:
        reading.broken[place] = f"file.unreadable: {what.name}: {error}"


def report_vanished(work: Work, place: int, what: BatchObject, why: str, reading: Reading) -> None:
    """An object that a newer snapshot replaced is superseded; any other that is gone spoils its manifest."""
    if what.floor < work.batch.newest_snapshot:
        count = what.rows or 0
        reading.objects[place] = {"rows": count, "ignored": count, "quarantined": [], "drift": {}}
    else:
        reading.broken[place] = why


def refuse_known(what: BatchObject, why: str | None) -> None:
    """Refuse an object that was found to be broken, or that is of a snapshot that is not whole."""
    if why:
        raise FileRejected(why)
    if not what.complete:
        raise FileRejected(f"generation.incomplete: {what.name}: its sync {what.job_id} did not succeed")


def refuse_unknown_types(file: DataFile, contract: StreamContract) -> None:
    """Refuse a file whose types contradict the contract."""
    try:
        check_types(file.schema, contract, file.name)
    except FileRejected as error:
        raise FileRejected(f"file.type: {error}") from error
    if file.schema.get_field_index(EXTRACTED_AT) < 0 and file.schema.get_field_index(EMITTED_AT) < 0:
        raise FileRejected(f"file.type: {file.name}: {EXTRACTED_AT} is missing; is this Airbyte's output?")


def _read_rows(
    work: Work, place: int, what: BatchObject, file: DataFile, drift: dict[str, str], reading: Reading
) -> Iterator[pa.Table]:
    contract, refused = work.contract, Refused()
    rows = ignored = unkeyed = 0
    with table_files(work.lake, work.path("keep", place, ".parquet")) as (kept,):
        for first, table in file.chunks(_wanted(file, contract)):
            keys, bad = key_table(table, contract, what, first, refused)
            _refuse_too_many(what, refused)
            deletes = keys.column("kind").to_numpy() == DELETE
            gone = ~bad & deletes if contract.deletes == "ignore" else np.zeros(len(bad), np.bool_)
            ignored += int(gone.sum())
            rows += len(bad)
            if contract.mode == "overwrite" and bad.any():
                unkeyed += _keep(kept, keys, contract, bad)
            yield _with_place(keys, place, keyed=bool(contract.key)).filter(pa.array(~bad & ~gone))
        refuse_other_count(what, rows, file.rows)
        kept_rows = kept.rows
    quarantine_rows(work, place, what, refused)
    drift |= {n: kind for n in refused.columns if (kind := natural(file.schema.field(n).type))}
    reading.objects[place] = {
        "rows": rows,
        "ignored": ignored,
        "unkeyed": unkeyed,
        "kept": kept_rows,
        "drift": drift,
        "lost": missing(file.schema, contract),
        "quarantined": [refusal(what, row, why).model_dump() for row, why in sorted(refused.reasons.items())],
    }


def refuse_other_count(what: BatchObject, rows: int, footer_rows: int | None) -> None:
    """Refuse an object of which other rows were read than its manifest, or else its footer, says."""
    expected = footer_rows if what.rows is None else what.rows
    if expected not in (None, rows):
        raise FileRejected(f"file.count: {what.name}: {rows} rows were read, of {expected} that it should have")


def _wanted(file: DataFile, contract: StreamContract) -> list[str]:
    """Columns that decide a row's key, order and whether it fits."""
    return list(dict.fromkeys([*contract.key, *contract.order, *TOLD, *checked_columns(file.schema, contract)]))


def _refuse_too_many(what: BatchObject, refused: Refused) -> None:
    """So many bad rows are no bad rows: the contract or the file is wrong."""
    if len(refused.reasons) > MOST_REFUSED:
        _, (reason, detail) = min(refused.reasons.items())
        raise FileRejected(f"file.rows: {what.name}: more than {MOST_REFUSED:,} rows are bad; first {reason}: {detail}")


def _keep(kept: TableFile, keys: pa.Table, contract: StreamContract, bad: Mask) -> int:
    """Keep the keys of refused rows of a snapshot, as they are not absent; returns how many rows have no key."""
    readable, unkeyed = split_keys(keys, contract, bad)
    if readable.num_rows:
        kept.add(readable)
    return unkeyed


def key_table(
    table: pa.Table, contract: StreamContract, what: BatchObject, first: int, refused: Refused
) -> tuple[pa.Table, Mask]:
    """`hash`, `version`, `kind`, `row` and the key columns of every row, and which rows are refused."""
    columns, types = {}, column_types(contract)
    bad_rows = np.zeros(table.num_rows, np.bool_)
    for name in dict.fromkeys([*contract.key, *contract.order, *checked_columns(table.schema, contract)]):
        columns[name], bad = conform_column(table.column(name).combine_chunks(), types[name])
        if bad is not None and bad.any():
            refused.add(bad, "row.type", f"{name} does not fit {types[name]} without loss", first)
            refused.columns.add(name)
            bad_rows |= bad
    for name in contract.key:
        if columns[name].null_count:
            null = columns[name].is_null().to_numpy(zero_copy_only=False)
            refused.add(null, "key.null", f"key column {name} is null", first)
            bad_rows |= null
    rows = np.arange(first, first + table.num_rows, dtype=np.int64)
    version = encode_versions(table, contract, what, columns, rows)
    found = {f"key_{i}": columns[name] for i, name in enumerate(contract.key)}
    hashes = hash_keys(list(found.values())) if found else rows.astype(np.uint64)
    own = {"hash": pa.array(hashes), "version": version, "kind": pa.array(row_kinds(table, contract)), "row": rows}
    return pa.table(own | found), bad_rows


def row_kinds(table: pa.Table, contract: StreamContract) -> npt.NDArray[np.int8]:
    """Which rows bear a body (UPSERT) and which tell that a key is gone (DELETE)."""
    if contract.mode != "cdc" or DELETED_AT not in table.column_names:
        return np.full(table.num_rows, UPSERT, np.int8)
    gone = table.column(DELETED_AT).combine_chunks().is_valid().to_numpy(zero_copy_only=False)
    return np.asarray(gone, dtype=np.int8)


def _with_place(keys: pa.Table, place: int, *, keyed: bool) -> pa.Table:
    """The keys with their object's place; without a key, each row of each object is one of its own."""
    if not keyed:
        position = [keys.column("row").combine_chunks(), pa.array(np.full(keys.num_rows, place, np.int64))]
        keys = keys.set_column(keys.column_names.index("hash"), "hash", pa.array(hash_keys(position)))
        keys = keys.append_column("key_0", position[0]).append_column("key_1", position[1])
    return keys.append_column("place", pa.array(np.full(keys.num_rows, place, np.int32)))


def _by_shard(keys: pa.Table, shards: int) -> Iterator[tuple[int, pa.Table]]:
    shard = keys.column("hash").to_numpy() % np.uint64(shards)
    for number in range(shards):
        part = keys.filter(pa.array(shard == number)) if shards > 1 else keys
        if part.num_rows:
            yield number, part
