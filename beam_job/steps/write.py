"""Third step: the positions of winners in, their rows as staging files out, upserts and deletes apart."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.files import DataFile
from beam_job.steps.order import order_columns
from beam_job.steps.read import DELETE, UPSERT
from beam_job.steps.rows import (
    AIRBYTE_COLUMNS,
    DELETED_AT,
    Mask,
    column_types,
    conform_column,
    extracted_at,
    instants,
)
from beam_job.steps.types import arrow_type
from beam_job.steps.unchanged import UnchangedFound, as_json, stages_every_upsert, unchanged_columns
from beam_job.steps.units import Unit
from beam_job.steps.versions import encode_versions
from beam_job.steps.work import Rows, TableFile, Work, table_files
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import BatchObject
from millrace.domain.errors import FileRejected


def write_winners(work: Work, unit: Unit, parts: Iterable[pa.Table]) -> None:
    """Write a unit's winners; if an object can not be read, report it and write nothing.

    Winners with unchanged values are written and reported only if every upsert of the batch is staged.
    """
    winners = pa.concat_tables(parts)
    indexes, rows, kinds = (winners.column(name).to_numpy() for name in ("index", "row", "kind"))
    paths = [work.staging_path(kind, unit.number) for kind in ("upserts", "deletes")]
    name, unchanged = "", set[str]()
    try:
        with table_files(work.lake, *paths) as files:
            for index, obj in unit.indexed_objects():
                name = obj.name
                of_object = indexes == index
                if of_object.any():
                    chosen = [np.sort(rows[of_object & (kinds == kind)]) for kind in (UPSERT, DELETE)]
                    unchanged |= _write_object(work, unit, index, chosen, files)
    except UnchangedFound as found:
        work.report("staged", unit.number, {"upserts": 0, "deletes": 0, "unchanged": sorted(found.columns)})
        return
    except (FileRejected, pa.ArrowException) as error:
        reason = str(error) if isinstance(error, FileRejected) else f"file.unreadable: {name}: {error}"
        work.report("broken", unit.number, {"broken": {index: reason}})
        return
    counts = {"upserts": int((kinds == UPSERT).sum()), "deletes": int((kinds == DELETE).sum())}
    work.report("staged", unit.number, {**counts, "unchanged": sorted(unchanged)})


def _write_object(work: Work, unit: Unit, index: int, chosen: list[Rows], files: list[TableFile]) -> set[str]:
    """Write the chosen upserts and deletes of an object; return the columns with unchanged values."""
    unchanged = set[str]()
    obj = unit.objects[index - unit.first]
    columns = list(dict.fromkeys([*column_types(work.contract), *AIRBYTE_COLUMNS]))
    for first, table in DataFile(work.lake, obj, column_types(work.contract)).chunks(columns):
        for rows, file, to_staging in zip(chosen, files, (stage_upserts, stage_deletes), strict=True):
            low, high = np.searchsorted(rows, [first, first + table.num_rows])
            if high > low:
                positions = rows[low:high]
                mask: Mask = np.zeros(table.num_rows, np.bool_)
                mask[positions - first] = True
                part = table if high - low == table.num_rows else table.filter(pa.array(mask))
                staged = to_staging(part, work.contract, obj, positions)
                if to_staging is stage_upserts and (found := unchanged_columns(staged, work.contract)):
                    if not stages_every_upsert(work.attempt):
                        raise UnchangedFound(found)
                    unchanged |= found
                file.add(staged.append_column("_object", _name_of(unit, index, staged.num_rows)))
    return unchanged


def _name_of(unit: Unit, index: int, count: int) -> pa.Array:
    """Repeat the object's name, coded by all names of the unit: an Arrow file has one dictionary per column."""
    codes = np.full(count, unit.name_code(index), np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes), unit.object_names)


def stage_upserts(table: pa.Table, contract: StreamContract, obj: BatchObject, rows: Rows) -> pa.Table:
    """Convert rows to those that the warehouse stores."""
    columns, existing = {}, frozenset(table.column_names)
    for name, declared in column_types(contract).items():
        if name in existing:
            values = as_json(table.column(name).combine_chunks(), name, contract)
            columns[name] = _conform_valid(values, name, declared, obj)
        else:
            columns[name] = pa.nulls(table.num_rows, arrow_type(declared))
    order, _ = order_columns(columns, contract)
    version = encode_versions(table, contract, obj, order, rows)
    return pa.table(columns | {"_version": version} | _provenance(table, obj, rows))


def stage_deletes(table: pa.Table, contract: StreamContract, obj: BatchObject, rows: Rows) -> pa.Table:
    """Convert deletes to rows of the key and the time of the delete."""
    types = column_types(contract)
    needed = dict.fromkeys([*contract.key, *contract.order])
    columns = {name: _conform_valid(table.column(name).combine_chunks(), name, types[name], obj) for name in needed}
    order, _ = order_columns(columns, contract)
    version = encode_versions(table, contract, obj, order, rows)
    keys = {name: columns[name] for name in contract.key}
    deleted = instants(table.column(DELETED_AT).combine_chunks())
    own = {"_delete_version": version, "_deleted_at": pc.coalesce(deleted, extracted_at(table))}
    return pa.table(keys | own | _provenance(table, obj, rows))


def _conform_valid(values: pa.Array, name: str, declared: str, obj: BatchObject) -> pa.Array:
    """Convert a column of valid rows. Raises FileRejected if a value does not fit: the file's statistics are wrong."""
    column, invalid = conform_column(values, declared)
    if invalid is not None and invalid.any():
        raise FileRejected(f"file.unreadable: {obj.name}: {name} has values beyond those that its statistics state")
    return column


def _provenance(table: pa.Table, obj: BatchObject, rows: Rows) -> dict[str, pa.Array]:
    count = table.num_rows
    return {
        "_row": pa.array(rows),
        "_extracted_at": extracted_at(table),
        "_epoch": pa.array(np.full(count, obj.epoch, np.int64)),
    }
