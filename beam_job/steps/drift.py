"""Files that differ from their contract: what they bring, and what the contract becomes for one batch."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from beam_job.steps.rows import fits
from millrace.contracts.stream import StreamContract
from millrace.contracts.widening import wider
from millrace.domain.batch import Drift
from millrace.domain.errors import FileRejected
from millrace.domain.types import IDENTIFIER, Column

OWN_PREFIXES = ("_airbyte_", "_ab_")


def natural(kind: pa.DataType) -> str | None:
    """The contract type of a file's type; None when it tells nothing (no value) or there is none."""
    t = pa.types
    if t.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})" if kind.scale >= 0 else None
    for holds, declared in (
        (t.is_uint64, "decimal(20,0)"),
        (t.is_integer, "int64"),
        (t.is_floating, "float64"),
        (t.is_boolean, "bool"),
        (t.is_date, "date"),
        (t.is_timestamp, "timestamp"),
        (t.is_nested, "json"),
        (t.is_string, "string"),
        (t.is_large_string, "string"),
        (t.is_time, "string"),
        (t.is_binary, "bytes"),
        (t.is_large_binary, "bytes"),
        (t.is_fixed_size_binary, "bytes"),
    ):
        if holds(kind):
            return declared
    return None


def differences(schema: pa.Schema, contract: StreamContract) -> dict[str, str]:
    """Columns that the contract lacks, or has with a type that the file's never fits, with their natural types."""
    known = contract.order_types | {n: "text" for n, c in contract.columns.items() if c.any_type}
    found = {}
    for field in schema:
        kind = natural(field.type)
        differs = fits(field.type, known[field.name]) == "no" if field.name in known else not is_own(field.name)
        if kind and differs:
            found[field.name] = kind
    return found


def missing(schema: pa.Schema, contract: StreamContract) -> list[str]:
    """Columns of the contract that a file lacks."""
    return [name for name in contract.columns if schema.get_field_index(name) < 0]


def is_own(column: str) -> bool:
    """Whether a column is Airbyte's, not the source's."""
    return column.startswith(OWN_PREFIXES)


def refuse_new_columns(schema: pa.Schema, contract: StreamContract, where: str) -> None:
    """Refuse a file with a column that may not, or can't, be added.

    Raises:
        FileRejected: names the object and every such column.
    """
    new = [f.name for f in schema if f.name not in contract.columns and f.name not in contract.order]
    new = [name for name in new if not is_own(name)]
    impossible = [name for name in new if not can_be_added(name, contract.columns)]
    if contract.evolution.new_columns == "quarantine" and new:
        raise FileRejected(f"file.new_column: {where}: the contract has no {', '.join(new)}")
    if contract.evolution.new_columns == "add" and impossible:
        raise FileRejected(f"file.new_column: {where}: {', '.join(impossible)} can't be a column of the table")


def can_be_added(name: str, columns: Iterable[str]) -> bool:
    """Whether a table can have a column of that name beside others: names differ by more than case, `_` is ours."""
    taken = {column.casefold() for column in columns}
    return name.casefold() not in taken and not name.startswith("_") and bool(IDENTIFIER.fullmatch(name))


def evolve(contract: StreamContract, seen: Iterable[Mapping[str, str]]) -> StreamContract:
    """The contract with the columns and types that files bring, as far as its policies let them in.

    Keys and order columns never change: the encoded order of all rows depends on them.
    """
    columns = dict(contract.columns)
    for found in seen:
        for name, kind in sorted(found.items()):
            if name in contract.key or name in contract.order:
                continue
            if name not in columns:
                if contract.evolution.new_columns == "add" and can_be_added(name, columns):
                    columns[name] = Column(type=kind)
            elif contract.evolution.type_changes == "widen" and (both := wider(columns[name].type, kind)):
                columns[name] = columns[name].model_copy(update={"type": both})
    return contract if columns == contract.columns else contract.model_copy(update={"columns": columns})


def tell(
    before: StreamContract, after: StreamContract, seen: Iterable[Mapping[str, str]], lost: set[str]
) -> list[Drift]:
    """What changed, by column: added, widened, ignored, dropped."""
    told = [
        Drift(column=n, was=before.columns[n].type if n in before.columns else "", now=c.type)
        for n, c in after.columns.items()
        if before.columns.get(n) != c
    ]
    ignored = {n: kind for found in seen for n, kind in found.items() if n not in after.columns}
    if after.evolution.new_columns == "ignore":
        told += [Drift(column=n, was="", now=kind, ignored=True) for n, kind in sorted(ignored.items())]
    return told + [Drift(column=n, was=after.columns[n].type, now="") for n in sorted(lost)]
