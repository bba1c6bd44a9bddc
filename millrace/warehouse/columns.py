"""Columns of a stream's table, in contract types: contract and stored columns in, columns to add or widen out."""

from millrace.contracts.stream import StreamContract
from millrace.contracts.widening import common_type
from millrace.domain.errors import ContractError
from millrace.domain.types import Column

PROVENANCE = {"_object": "string", "_row": "int64", "_extracted_at": "timestamp", "_epoch": "int64"}
REGISTERS = {
    "_version": "bytes",
    "_delete_version": "bytes",
    "_deleted_at": "timestamp",
    "_batch_id": "string",
    "_delete_batch_id": "string",
}


def keys(contract: StreamContract) -> dict[str, str]:
    """Return the columns of the key."""
    return {name: contract.columns[name].type for name in contract.key}


def payload(contract: StreamContract) -> dict[str, str]:
    """Return the columns that an upsert replaces together; the key is not among them."""
    declared = {n: c.type for n, c in contract.columns.items()} | {n: contract.order_types[n] for n in contract.order}
    return {name: kind for name, kind in declared.items() if name not in contract.key}


def all_columns(contract: StreamContract) -> dict[str, str]:
    """Return all columns of the table."""
    return keys(contract) | payload(contract) | REGISTERS | PROVENANCE


def staged_upserts(contract: StreamContract) -> dict[str, str]:
    """Return the columns of staged upserts."""
    return keys(contract) | payload(contract) | {"_version": "bytes"} | PROVENANCE


def staged_deletes(contract: StreamContract) -> dict[str, str]:
    """Return the columns of staged deletes."""
    return keys(contract) | {"_delete_version": "bytes", "_deleted_at": "timestamp"} | PROVENANCE


def evolved_columns(contract: StreamContract, stored: dict[str, str]) -> dict[str, Column]:
    """Return columns of the table that the contract lacks, or declares with a narrower type."""
    fixed = set(REGISTERS) | set(PROVENANCE) | set(contract.key) | set(contract.order)
    evolved = {}
    for name, kind in stored.items():
        declared = contract.columns.get(name)
        if name in fixed or (declared and common_type(declared.type, kind) in (None, declared.type)):
            continue
        evolved[name] = declared.model_copy(update={"type": kind}) if declared else Column(type=kind)
    return evolved


def to_widen(contract: StreamContract, stored: dict[str, str], *, migrating: bool = False) -> dict[str, str]:
    """Return columns of the contract whose type is wider than the table's; a migration changes any type to text.

    Raises:
        ContractError: no type holds the values of both.
    """
    widened = {}
    for name, column in contract.columns.items():
        kind = stored.get(name, column.type)
        becomes_text = column.any_type or (migrating and column.type == "string")
        both = column.type if becomes_text else common_type(kind, column.type)
        if both is None or (name in (*contract.key, *contract.order) and both != kind):
            raise ContractError(
                f"{contract.id}: column {name} is {kind} in the table, the contract says {column.type}, and it"
                f" can't be changed to hold both; put the old type back, {_alternative(name, column.type, contract)}"
            )
        if both != kind:
            widened[name] = both
    return widened


def _alternative(name: str, kind: str, contract: StreamContract) -> str:
    if kind == "string" and name not in (*contract.key, *contract.order):
        return f"or run migrate for {contract.id} to make text of it"
    return "or give the column another name"


def check_exact(contract: StreamContract, name: str, inexact: int) -> None:
    """Raise ContractError when `inexact` rows of a column that becomes float64 hold integers beyond 2^53."""
    if inexact:
        raise ContractError(
            f"{contract.id}: column {name} can't become float64: {inexact} rows hold integers beyond 2^53, which it"
            " would round; declare it decimal(38,9), or quarantine fractions with `type_changes: quarantine`"
        )


def prunes(contract: StreamContract) -> bool:
    """Return True if the partition column is part of the key: a key's row can only be in its own partition."""
    return bool(contract.partition and contract.partition.column in contract.key)
