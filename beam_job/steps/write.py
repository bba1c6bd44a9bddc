"""Third step: the winners' rows, read again from their files, as staging files; bodies and deletes apart."""

from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.files import DataFile
from beam_job.steps.read import DELETE, UPSERT
from beam_job.steps.rows import DELETED_AT, TOLD, Mask, arrow_type, column_types, conform_column, extracted_at
from beam_job.steps.units import Unit
from beam_job.steps.versions import encode_versions
from beam_job.steps.work import Rows, TableFile, Work, table_files
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import BatchObject
from millrace.domain.errors import FileRejected


def write_winners(work: Work, unit: Unit, parts: Iterable[pa.Table]) -> None:
    """Write a unit's winners; reports an object that it can't read, and writes nothing then."""
    winners = pa.concat_tables(parts)
    places, rows, kinds = (winners.column(name).to_numpy() for name in ("place", "row", "kind"))
    paths = [work.staging_path(kind, unit.number) for kind in ("upserts", "deletes")]
    name = ""
    try:
        with table_files(work.lake, *paths) as files:
            for place, what in unit.places():
                name = what.name
                mine = places == place
                if mine.any():
                    chosen = [np.sort(rows[mine & (kinds == kind)]) for kind in (UPSERT, DELETE)]
                    _write_object(work, unit, place, chosen, files)
    except (FileRejected, pa.ArrowException) as error:
        why = str(error) if isinstance(error, FileRejected) else f"file.unreadable: {name}: {error}"
        work.report("broken", unit.number, {"broken": {place: why}})
        return
    counts = {"upserts": int((kinds == UPSERT).sum()), "deletes": int((kinds == DELETE).sum())}
    work.report("staged", unit.number, dict(counts))


def _write_object(work: Work, unit: Unit, place: int, chosen: list[Rows], files: list[TableFile]) -> None:
    what = unit.objects[place - unit.first]
    wanted = list(dict.fromkeys([*column_types(work.contract), *TOLD]))
    for first, table in DataFile(work.lake, what).chunks(wanted):
        for rows, file, staged in zip(chosen, files, (stage_upserts, stage_deletes), strict=True):
            low, high = np.searchsorted(rows, [first, first + table.num_rows])
            if high > low:
                positions = rows[low:high]
                mask: Mask = np.zeros(table.num_rows, np.bool_)
                mask[positions - first] = True
                part = table if high - low == table.num_rows else table.filter(pa.array(mask))
                made = staged(part, work.contract, what, positions)
                file.add(made.append_column("_object", _name_of(unit, place, made.num_rows)))


def _name_of(unit: Unit, place: int, count: int) -> pa.Array:
    """The object's name, `count` times, by a dictionary of all of the unit's: a file of Arrow has one for a column."""
    position = np.full(count, place - unit.first, np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(position), pa.array([what.name for what in unit.objects]))


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
        "_row": pa.array(rows),
        "_extracted_at": extracted_at(table),
        "_epoch": pa.array(np.full(count, what.epoch, np.int64)),
    }
