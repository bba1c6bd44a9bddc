"""Columns of a stream's table, in contract types; what every engine's table has, and how it differs from a contract."""

from millrace.contracts.stream import StreamContract
from millrace.contracts.widening import wider
from millrace.domain.errors import ContractError
from millrace.domain.types import Column

BODY = {"_object": "string", "_row": "int64", "_extracted_at": "timestamp", "_epoch": "int64"}
REGISTERS = {
    "_version": "bytes",
    "_delete_version": "bytes",
    "_deleted_at": "timestamp",
    "_batch_id": "string",
    "_delete_batch_id": "string",
}


def keys(contract: StreamContract) -> dict[str, str]:
    """Columns of the key."""
    return {name: contract.columns[name].type for name in contract.key}


def bodies(contract: StreamContract) -> dict[str, str]:
    """Columns that an upsert replaces together; the key is not among them."""
    declared = {n: c.type for n, c in contract.columns.items()} | {n: contract.order_types[n] for n in contract.order}
    return {name: kind for name, kind in declared.items() if name not in contract.key}


def all_columns(contract: StreamContract) -> dict[str, str]:
    """Columns of the table."""
    return keys(contract) | bodies(contract) | REGISTERS | BODY


def staged_upserts(contract: StreamContract) -> dict[str, str]:
    """Columns of staged bodies."""
    return keys(contract) | bodies(contract) | {"_version": "bytes"} | BODY


def staged_deletes(contract: StreamContract) -> dict[str, str]:
    """Columns of staged deletes."""
    return keys(contract) | {"_delete_version": "bytes", "_deleted_at": "timestamp"} | BODY


def learned(contract: StreamContract, stored: dict[str, str]) -> dict[str, Column]:
    """Columns that the table has and the contract lacks, or has with a narrower type."""
    own = set(REGISTERS) | set(BODY) | set(contract.key) | set(contract.order)
    found = {}
    for name, kind in stored.items():
        declared = contract.columns.get(name)
        if name in own or (declared and wider(declared.type, kind) in (None, declared.type)):
            continue
        found[name] = declared.model_copy(update={"type": kind}) if declared else Column(type=kind)
    return found


def to_widen(contract: StreamContract, stored: dict[str, str], *, migrating: bool = False) -> dict[str, str]:
    """Columns of the contract whose type is wider than the table's; by a migration anything becomes text.

    Raises:
        ContractError: a column can't have a type that holds both.
    """
    found = {}
    for name, column in contract.columns.items():
        kind = stored.get(name, column.type)
        becomes_text = column.any_type or (migrating and column.type == "string")
        both = column.type if becomes_text else wider(kind, column.type)
        if both is None or (name in (*contract.key, *contract.order) and both != kind):
            raise ContractError(
                f"{contract.id}: column {name} is {kind} in the table, the contract says {column.type}, and it"
                f" can't be changed to hold both; put the old type back, {_or_migrate(name, column.type, contract)}"
            )
        if both != kind:
            found[name] = both
    return found


def _or_migrate(name: str, kind: str, contract: StreamContract) -> str:
    if kind == "string" and name not in (*contract.key, *contract.order):
        return f"or run migrate for {contract.id} to make text of it"
    return "or give the column another name"


def refuse_inexact(contract: StreamContract, name: str, bent: int) -> None:
    """Refuse to make a column float64 of which `bent` rows hold integers beyond 2^53. Raises ContractError."""
    if bent:
        raise ContractError(
            f"{contract.id}: column {name} can't become float64: {bent} rows hold integers beyond 2^53, which it"
            " would bend; declare it decimal(38,9), or refuse fractions with `type_changes: quarantine`"
        )


def prunes(contract: StreamContract) -> bool:
    """Whether a key's row can only be in its own partition: the partition column is part of the key."""
    return bool(contract.partition and contract.partition.column in contract.key)
