"""What the pipeline's steps do: plain functions on one object, one shard of keys, or one object's winners.

Everything is named by the batch and the object's place in it, so that a repeat overwrites the same files. The steps
leave small reports beside the files; counts come from them, never from Beam's counters.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.drift import differences, missing, natural, refuse_new_columns
from beam_job.files import DataFile
from beam_job.keys import Origin, encode_version, hash_keys, sort_words
from beam_job.quarantine import keep_keys, quarantine_file, quarantine_rows, refusal, report_vanished
from beam_job.rows import (
    DELETED_AT,
    EMITTED_AT,
    EXTRACTED_AT,
    GENERATION_ID,
    Refused,
    arrow_type,
    check_types,
    checked_columns,
    column_types,
    conform_column,
    extracted_at,
)
from beam_job.work import Work, from_ipc, to_ipc, write_parquet
from contracts.batch import BatchObject
from contracts.errors import FileRejected, FileVanished
from contracts.stream import StreamContract

Rows = npt.NDArray[np.int64]
UPSERT, DELETE = 0, 1


def read_keys(work: Work, place: int, shards: int, rejected: Mapping[int, str]) -> Iterator[tuple[int, bytes]]:
    """Keys and versions of one object's good rows, by shard; refuses rows and files that break the contract.

    `rejected` names objects whose keys could be read but whose rows could not.
    """
    what = work.batch.objects[place]
    drift: dict[str, str] = {}
    try:
        refuse_known(what, rejected.get(place))
        file = DataFile(work.lake, what)
        drift |= differences(file.schema, work.contract)
        refuse_new_columns(file.schema, work.contract, what.name)
        refuse_unknown_types(file, work.contract)
        keys, refused = read_key_table(file, work.contract, what)
    except FileVanished as error:
        report_vanished(work, place, what, str(error))
        return
    except FileRejected as error:
        quarantine_file(work, place, what, str(error), drift)
        return
    except pa.ArrowException as error:
        quarantine_file(work, place, what, f"file.unreadable: {what.name}: {error}")
        return
    good = ~refused.mask(file.rows)
    deletes = keys.column("kind").to_numpy() == DELETE
    ignored = good & deletes if work.contract.deletes == "ignore" else np.zeros(file.rows, np.bool_)
    drift |= {n: kind for n in refused.columns if (kind := natural(file.schema.field(n).type))}
    quarantine_rows(work, place, what, file, refused)
    unkeyed = keep_keys(work, place, keys, ~good) if work.contract.mode == "overwrite" else 0
    work.report("read", place, {
        "rows": file.rows, "ignored": int(ignored.sum()), "unkeyed": unkeyed, "drift": drift,
        "lost": missing(file.schema, work.contract),
        "quarantined": [refusal(what, row, why).model_dump() for row, why in sorted(refused.reasons.items())],
    })  # fmt: skip
    if not work.contract.key:
        keys = _key_by_position(keys, place)
    keys = keys.append_column("place", pa.array(np.full(file.rows, place, np.int32))).filter(pa.array(good & ~ignored))
    yield from _by_shard(keys, shards)


def refuse_known(what: BatchObject, why: str | None) -> None:
    """Refuse an object that was found to be broken, or that is of a snapshot that is not whole."""
    if why:
        raise FileRejected(why)
    if not what.complete:
        raise FileRejected(f"generation.incomplete: {what.name}: its sync {what.job_id} did not succeed")


def _key_by_position(keys: pa.Table, place: int) -> pa.Table:
    """Each row of each object is a key of its own."""
    position = [keys.column("row").combine_chunks(), pa.array(np.full(keys.num_rows, place, np.int64))]
    keys = keys.set_column(keys.column_names.index("hash"), "hash", pa.array(hash_keys(position)))
    return keys.append_column("key_0", position[0]).append_column("key_1", position[1])


def refuse_unknown_types(file: DataFile, contract: StreamContract) -> None:
    """Refuse a file whose types contradict the contract."""
    try:
        check_types(file.schema, contract, file.name)
    except FileRejected as error:
        raise FileRejected(f"file.type: {error}") from error
    if file.schema.get_field_index(EXTRACTED_AT) < 0 and file.schema.get_field_index(EMITTED_AT) < 0:
        raise FileRejected(f"file.type: {file.name}: {EXTRACTED_AT} is missing; is this Airbyte's output?")


def read_key_table(file: DataFile, contract: StreamContract, what: BatchObject) -> tuple[pa.Table, Refused]:
    """`hash`, `version`, `kind`, `row` and the key columns of every row, and the rows that are refused."""
    checked = checked_columns(file.schema, contract)
    wanted = [*contract.key, *contract.order, EXTRACTED_AT, EMITTED_AT, GENERATION_ID, DELETED_AT, *checked]
    table = file.read(list(dict.fromkeys(wanted)))
    refused, columns, types = Refused(), {}, column_types(contract)
    for name in dict.fromkeys([*contract.key, *contract.order, *checked]):
        columns[name], bad = conform_column(table.column(name).combine_chunks(), types[name])
        if bad is not None and bad.any():
            refused.add(bad, "row.type", f"{name} does not fit {types[name]} without loss")
            refused.columns.add(name)
    for name in contract.key:
        missing = columns[name].is_null().to_numpy(zero_copy_only=False)
        refused.add(missing, "key.null", f"key column {name} is null")
    rows = np.arange(table.num_rows, dtype=np.int64)
    version = encode_versions(table, contract, what, columns, rows)
    found = {f"key_{i}": columns[name] for i, name in enumerate(contract.key)}
    hashes = hash_keys(list(found.values())) if found else rows.astype(np.uint64)
    own = {"hash": pa.array(hashes), "version": version, "kind": pa.array(row_kinds(table, contract)), "row": rows}
    return pa.table(own | found), refused


def encode_versions(
    table: pa.Table, contract: StreamContract, what: BatchObject, columns: dict[str, pa.Array], rows: Rows
) -> pa.Array:
    """`_version` of every row of one object."""
    generation = what.generation_id
    if contract.mode != "overwrite" and GENERATION_ID in table.column_names and table.num_rows:
        generation = pc.max(table.column(GENERATION_ID)).as_py() or generation
    origin = Origin(what.epoch, generation, what.job_id, what.name, what.generation)
    return encode_version(origin, [columns[name] for name in contract.order], extracted_at(table), rows)


def row_kinds(table: pa.Table, contract: StreamContract) -> npt.NDArray[np.int8]:
    """Which rows bear a body (UPSERT) and which tell that a key is gone (DELETE)."""
    if contract.mode != "cdc" or DELETED_AT not in table.column_names:
        return np.full(table.num_rows, UPSERT, np.int8)
    gone = table.column(DELETED_AT).combine_chunks().is_valid().to_numpy(zero_copy_only=False)
    return np.asarray(gone, dtype=np.int8)


def _by_shard(keys: pa.Table, shards: int) -> Iterator[tuple[int, bytes]]:
    shard = keys.column("hash").to_numpy() % np.uint64(shards)
    for number in range(shards):
        part = keys.filter(pa.array(shard == number)) if shards > 1 else keys
        if part.num_rows:
            yield number, to_ipc(part)


def pick_winners(work: Work, shard: int, parts: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The newest body and the newest delete of each key, as (object's place, rows of it)."""
    keys = pa.concat_tables([from_ipc(part) for part in parts]).combine_chunks()
    order = np.lexsort((*reversed(sort_words(keys.column("version").combine_chunks())), *_groups(keys)[::-1]))
    same = np.ones(len(order) - 1, np.bool_)
    for column in _groups(keys):
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    last = np.append(~same, True)
    winners = keys.select(["place", "row", "kind"]).take(pa.array(order[last]))
    work.report("shard", shard, {"rows": keys.num_rows, "winners": winners.num_rows})
    places = winners.column("place").to_numpy()
    for place in np.unique(places):
        yield int(place), to_ipc(winners.filter(pa.array(places == place)).select(["row", "kind"]))


def _groups(keys: pa.Table) -> list[npt.NDArray[np.generic]]:
    """Columns that tell registers apart; the keys themselves only when two of them have one hash."""
    hashes, kinds = keys.column("hash").to_numpy(), keys.column("kind").to_numpy()
    coded = [pc.dictionary_encode(keys.column(c).combine_chunks()).indices.to_numpy() for c in _key_columns(keys)]
    if not coded:
        return [hashes, kinds]
    order = np.argsort(hashes, kind="stable")
    same_hash = hashes[order][1:] == hashes[order][:-1]
    collides = any((same_hash & (c[order][1:] != c[order][:-1])).any() for c in coded)
    return [hashes, *coded, kinds] if collides else [hashes, kinds]


def _key_columns(keys: pa.Table) -> list[str]:
    return [name for name in keys.column_names if name.startswith("key_")]


def write_winners(work: Work, place: int, parts: Iterable[bytes]) -> None:
    """Write one object's winners as staging Parquet, bodies and deletes apart; reports an object that it can't read."""
    try:
        _write_winners(work, place, parts)
    except FileRejected as error:
        work.report("broken", place, {"why": str(error)})
    except pa.ArrowException as error:
        work.report("broken", place, {"why": f"file.unreadable: {work.batch.objects[place].name}: {error}"})


def _write_winners(work: Work, place: int, parts: Iterable[bytes]) -> None:
    what = work.batch.objects[place]
    file = DataFile(work.lake, what)
    winners = pa.concat_tables([from_ipc(part) for part in parts])
    rows, kinds = winners.column("row").to_numpy(), winners.column("kind").to_numpy()
    table, counts = file.read(), {"upserts": 0, "deletes": 0}
    for kind, name in ((UPSERT, "upserts"), (DELETE, "deletes")):
        chosen = np.zeros(table.num_rows, np.bool_)
        chosen[rows[kinds == kind]] = True
        counts[name] = int(chosen.sum())
        if counts[name]:
            staged = stage_upserts if kind == UPSERT else stage_deletes
            positions = np.flatnonzero(chosen).astype(np.int64)
            write_parquet(work, work.path(name, place, ".parquet"),
                          staged(table.filter(pa.array(chosen)), work.contract, what, positions))  # fmt: skip
    work.report("staged", place, dict(counts))


def stage_upserts(table: pa.Table, contract: StreamContract, what: BatchObject, rows: Rows) -> pa.Table:
    """Rows with a body, as the warehouse keeps them."""
    columns = {}
    for name, declared in column_types(contract).items():
        if name in table.column_names:
            columns[name], _ = conform_column(table.column(name).combine_chunks(), declared)
        else:
            columns[name] = pa.nulls(table.num_rows, arrow_type(declared))
    version = encode_versions(table, contract, what, columns, rows)
    return pa.table(columns | {"_version": version} | _provenance(table, what, rows))


def stage_deletes(table: pa.Table, contract: StreamContract, what: BatchObject, rows: Rows) -> pa.Table:
    """Rows that tell that a key is gone: the key and when."""
    types = column_types(contract)
    needed = dict.fromkeys([*contract.key, *contract.order])
    columns = {name: conform_column(table.column(name).combine_chunks(), types[name])[0] for name in needed}
    version = encode_versions(table, contract, what, columns, rows)
    keys = {name: columns[name] for name in contract.key}
    deleted = pc.cast(_instants(table.column(DELETED_AT).combine_chunks()), arrow_type("timestamp"))
    own = {"_delete_version": version, "_deleted_at": pc.coalesce(deleted, extracted_at(table))}
    return pa.table(keys | own | _provenance(table, what, rows))


def _instants(texts: pa.Array) -> pa.Array:
    """ISO texts as instants; text that is none is NULL, as a delete is one whatever its time says."""
    from datetime import UTC, datetime

    def parse(text: str | None) -> datetime | None:
        try:
            found = datetime.fromisoformat(str(text))
        except ValueError:
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    return pa.array([parse(text) for text in texts.to_pylist()], arrow_type("timestamp"))


def _provenance(table: pa.Table, what: BatchObject, rows: Rows) -> dict[str, pa.Array]:
    count = table.num_rows
    return {
        "_object": pa.array([what.name]).take(pa.array(np.zeros(count, np.int64))),
        "_row": pa.array(rows),
        "_extracted_at": extracted_at(table),
        "_epoch": pa.array(np.full(count, what.epoch, np.int64)),
    }
