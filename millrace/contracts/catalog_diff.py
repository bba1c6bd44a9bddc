"""A contract and the catalog of its source in; what differs, as lines for the contract, out."""

from collections.abc import Sequence
from typing import Literal

from millrace.contracts.proposal import Json, column_contract, contract_type
from millrace.contracts.source import SourceContract
from millrace.contracts.source_files import flow
from millrace.contracts.stream import StreamContract
from millrace.domain.column_names import is_airbytes, table_names
from millrace.domain.types import DECIMAL, Frozen

SIGNS = {"new": "+", "gone": "-", "changed": "~"}


class Difference(Frozen):
    """A stream or column that source or contract lack, or that has another type; `line` is for the contract."""

    kind: Literal["new", "gone", "changed"]
    stream: str
    column: str = ""
    line: str = ""

    def __str__(self) -> str:
        what = f"{self.stream}.{self.column}" if self.column else self.stream
        return f"{SIGNS[self.kind]} {what}{': ' if self.line else ''}{self.line}"


def compare(source: SourceContract, catalog: Sequence[Json]) -> list[Difference]:
    """Return the differences, stream by stream; streams that the contract leaves out come last."""
    available = {stream["name"]: stream for stream in catalog}
    differences: list[Difference] = []
    for name, contract in source.streams.items():
        if name in available:
            differences += _columns(contract, available[name])
        else:
            differences.append(Difference(kind="gone", stream=name, line="the source has no such stream"))
    for name in available:
        if name not in source.streams:
            differences.append(Difference(kind="new", stream=name, line="not in the contract"))
    return differences


def _columns(contract: StreamContract, stream: Json) -> list[Difference]:
    declared = {n: p for n, p in stream["json_schema"].get("properties", {}).items() if not is_airbytes(n)}
    names = table_names(list(declared), list(contract.columns))
    differences = []
    for own, name in names.items():
        if name not in contract.columns:
            line = f"{flow(name)}: {flow(column_contract(declared[own], []))}"
            differences.append(Difference(kind="new", stream=contract.stream, column=name, line=line))
        elif (kind := contract_type(declared[own])) != (had := contract.columns[name].type) and not _agrees(
            declared[own], had
        ):
            line = f"{kind} at the source, {had} in the contract"
            differences.append(Difference(kind="changed", stream=contract.stream, column=name, line=line))
    for name in contract.columns:
        if name not in names.values() and not is_airbytes(name):
            differences.append(Difference(kind="gone", stream=contract.stream, column=name))
    return differences


def _agrees(declared: Json, contract: str) -> bool:
    """Return true for a decimal that holds those of the source, and for a text, which holds anything."""
    ours, theirs = DECIMAL.match(contract), DECIMAL.match(contract_type(declared))
    if ours and theirs and not declared.get("any_digits"):
        scale = int(ours[2]) - int(theirs[2])
        return scale >= 0 and int(ours[1]) - int(theirs[1]) >= scale
    return contract == "string" or bool(ours and theirs)
