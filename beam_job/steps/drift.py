"""A file's schema and its contract in; their differences, and the contract with new columns for one batch, out."""

from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa

from beam_job.steps.types import fits, natural_type
from millrace.contracts.stream import StreamContract
from millrace.contracts.widening import common_type
from millrace.domain.batch import Drift
from millrace.domain.column_names import is_airbytes, is_table_name
from millrace.domain.errors import FileRejected
from millrace.domain.types import Column


def differences(schema: pa.Schema, contract: StreamContract) -> dict[str, str]:
    """Return columns that the contract lacks, or declares with a type that never fits, with their natural types.

    The schema has the names of the table. A new column without any value has no type yet, and is not among them.

    Raises:
        FileRejected: names a column whose type has no rule.
    """
    declared = {n: contract.order_types[n] for n in (*contract.columns, *contract.order)}
    declared |= {n: "text" for n, c in contract.columns.items() if c.any_type}
    columns = {}
    for field in schema:
        known = declared.get(field.name)
        differs = fits(field.type, known) == "no" if known else not is_airbytes(field.name)
        if differs and (kind := _natural_type(field)):
            columns[field.name] = kind
    return columns


def _natural_type(field: pa.Field) -> str | None:
    try:
        return natural_type(field.type)
    except FileRejected as error:
        code, _, detail = str(error).partition(": ")
        raise FileRejected(f"{code}: column {field.name}: {detail}") from error


def missing(schema: pa.Schema, contract: StreamContract) -> list[str]:
    """Return the columns of the contract that a file lacks."""
    return [name for name in contract.columns if schema.get_field_index(name) < 0]


def reject_new_columns(schema: pa.Schema, contract: StreamContract, where: str) -> None:
    """Reject a file with a column that may not, or can not, be added; the schema has the names of the table.

    Raises:
        FileRejected: names the object and every such column.
    """
    new = [f.name for f in schema if f.name not in contract.columns and f.name not in contract.order]
    new = [name for name in new if not is_airbytes(name)]
    impossible = [name for name in new if not can_be_added(name, contract.columns)]
    if contract.evolution.new_columns == "quarantine" and new:
        raise FileRejected(f"file.new_column: {where}: the contract has no {', '.join(new)}")
    if contract.evolution.new_columns == "add" and impossible:
        raise FileRejected(f"file.new_column: {where}: {', '.join(impossible)} can not be columns of the table")


def can_be_added(name: str, columns: Iterable[str]) -> bool:
    """Return whether a table with these columns can have one more of that name; case is ignored."""
    return (
        is_table_name(name)
        and not is_airbytes(name)
        and name.casefold() not in {column.casefold() for column in columns}
    )


def cure(drift: Mapping[str, str], contract: StreamContract, check: Callable[[StreamContract], None]) -> dict[str, str]:
    """Return the types of declared columns with which a refused file becomes readable, nothing if none make it so.

    A file that stays refused changes nothing, and no file adds a column before it is read: the next attempt reads a
    cured file, and its new columns are added then. `check` raises FileRejected if a contract refuses the file.
    """
    widened = {name: kind for name, kind in drift.items() if name in contract.columns}
    if not widened:
        return {}
    try:
        check(evolve(contract, [widened]))
    except FileRejected:
        return {}
    return widened


def evolve(contract: StreamContract, drifts: Iterable[Mapping[str, str]]) -> StreamContract:
    """Return the contract with the columns and types that files bring, as far as its policies allow.

    Keys and order columns never change: the encoded order of all rows depends on them.
    """
    columns = dict(contract.columns)
    for drift in drifts:
        for name, kind in sorted(drift.items()):
            if name in contract.key or name in contract.order:
                continue
            if name not in columns:
                if contract.evolution.new_columns == "add" and can_be_added(name, columns):
                    columns[name] = Column(type=kind)
            elif contract.evolution.type_changes == "widen" and (both := common_type(columns[name].type, kind)):
                columns[name] = columns[name].model_copy(update={"type": both})
    return contract if columns == contract.columns else contract.model_copy(update={"columns": columns})


def describe_drift(
    before: StreamContract, after: StreamContract, drifts: Iterable[Mapping[str, str]], lost: set[str]
) -> list[Drift]:
    """Return the changes by column: added, widened, ignored, dropped."""
    changes = [
        Drift(column=n, was=before.columns[n].type if n in before.columns else "", now=c.type)
        for n, c in after.columns.items()
        if before.columns.get(n) != c
    ]
    ignored = {n: kind for drift in drifts for n, kind in drift.items() if n not in after.columns}
    if after.evolution.new_columns == "ignore":
        changes += [Drift(column=n, was="", now=kind, ignored=True) for n, kind in sorted(ignored.items())]
    return changes + [Drift(column=n, was=after.columns[n].type, now="") for n in sorted(lost)]
