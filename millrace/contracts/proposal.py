"""A stream of a connector's catalog and a few of its rows in; the contract that suits it, as plain data, out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from millrace.domain.column_names import is_airbytes, is_table_name, suffixed
from millrace.domain.types import DECIMAL

Json = dict[str, Any]
Row = Mapping[str, Any]
LOG = "_ab_cdc_lsn"
# Columns that change with each change of a row, best first; a column like created_at does not.
CURSORS = (
    "updated_at",
    "modified_at",
    "changed_at",
    "last_modified",
    "last_updated",
    "updated_on",
    "modified",
    "updated",
)
TYPES = {"integer": "int64", "number": "float64", "boolean": "bool", "object": "json", "array": "json"}
FORMATS = {"date": "date", "date-time": "timestamp"}
FRESH, FRESHNESS = timedelta(hours=36), "36h"
MOST_DIGITS, MOST_LABELS = 38, 50


@dataclass(frozen=True)
class Proposal:
    """The contract of one stream, and remarks for the person who reads it."""

    name: str
    contract: Json
    remarks: tuple[str, ...] = ()


def propose(stream: Json, sample: Sequence[Row], now: datetime) -> Proposal:
    """Return the contract of a stream: mode, key and order, columns with types, expectations, freshness."""
    declared = {n: p for n, p in stream["json_schema"].get("properties", {}).items() if not is_airbytes(n)}
    key = [path[0] for path in stream.get("source_defined_primary_key") or [] if len(path) == 1]
    mode, order, remarks = _mode(stream, declared, key)
    contract: Json = {"mode": mode, "key": key or "position"} | ({"order": order} if order else {})
    if stream.get("description"):
        contract = {"description": one_line(stream["description"])} | contract
    if fresh := _freshness(declared, sample, order, mode, now):
        contract["freshness"] = fresh
    columns = {name: column_contract(declared[name], [row.get(name) for row in sample]) for name in declared}
    for name in key:
        columns[name]["nullable"] = False
    names = {name: name if is_table_name(name) else suffixed(name) for name in declared}
    if expectations := [e for name in declared if name not in key for e in _expected(names[name], declared[name])]:
        contract["expectations"] = expectations
    contract["key"] = [names[name] for name in key] or "position"
    contract["columns"] = {names[name]: column for name, column in columns.items()}
    remarks += [f"column {old!r} is {new} in the table" for old, new in names.items() if old != new]
    remarks += [f"column {n}: {text}" for n in declared if (text := _remark(declared[n], [r.get(n) for r in sample]))]
    return Proposal(stream["name"], contract, tuple(remarks))


def _mode(stream: Json, declared: Mapping[str, Json], key: list[str]) -> tuple[str, list[str], list[str]]:
    """Return mode, order and remarks: the log if there is one, else a cursor, else the whole table each time."""
    incremental = "incremental" in stream.get("supported_sync_modes", [])
    if incremental and key and LOG in stream["json_schema"].get("properties", {}):
        return "cdc", [LOG], []
    cursor = _cursor(stream, declared)
    if incremental and key and cursor:
        return "append", [cursor], [f"rows that are deleted at the source stay; {cursor} must grow with each change"]
    if not incremental:
        return "overwrite", [], ["the connector reads it only in full"]
    reason = "it has no primary key" if not key else f"none of its columns is a cursor, such as {CURSORS[0]}"
    return "overwrite", [], [f"{reason}, so it is read in full each time"]


def _cursor(stream: Json, declared: Mapping[str, Json]) -> str:
    own = (stream.get("default_cursor_field") or [""])[0]
    candidates = [own] if own else [n for wanted in CURSORS for n in declared if n.lower() == wanted]
    usable = ("timestamp", "date", "int64")
    return next(
        (n for n in candidates if n in declared and contract_type(declared[n]) in usable and is_table_name(n)), ""
    )


def contract_type(declared: Json) -> str:
    """Return the type of a column that a catalog declares; our own connectors name it."""
    if named := declared.get("contract_type"):
        return str(named)
    kinds = declared.get("type", "string")
    kind = next((k for k in ([kinds] if isinstance(kinds, str) else kinds) if k != "null"), "string")
    if kind == "string":
        return FORMATS.get(str(declared.get("format")), "string")
    return TYPES.get(kind, "string")


def column_contract(declared: Json, values: Sequence[Any]) -> Json:
    """Return the contract of one column."""
    kind = contract_type(declared)
    if declared.get("any_digits"):
        kind = _wide_enough(kind, values)
    column: Json = {"type": kind}
    if declared.get("description"):
        column["description"] = one_line(declared["description"])
    return column


def _wide_enough(kind: str, values: Sequence[Any]) -> str:
    """Return a decimal with the digits after the point that the sample needs; a text where no decimal has them."""
    match = DECIMAL.match(kind)
    digits, scale = (int(match[1]), int(match[2])) if match else (MOST_DIGITS, 0)
    numbers = [n for v in values if (n := _number(v)) is not None]
    needed = max((max(-int(n.as_tuple().exponent), 0) for n in numbers), default=0)
    before = max((n.adjusted() + 1 for n in numbers), default=0)
    if max(needed, scale) + before > MOST_DIGITS:
        return "string"
    return f"decimal({digits},{max(needed, scale)})"


def _number(value: Any) -> Decimal | None:
    try:
        number = Decimal(str(value)) if value is not None else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def _remark(declared: Json, values: Sequence[Any]) -> str:
    if DECIMAL.match(contract_type(declared)) and any(
        str(v).lower() in ("nan", "infinity", "-infinity") for v in values
    ):
        return "NaN or infinity is no decimal; rows with it are quarantined. `type: string` keeps them"
    return ""


def _expected(name: str, declared: Json) -> list[Json]:
    """Return what the source's own constraints say: a column that is never null, the labels of an enum."""
    expected: list[Json] = []
    kinds = declared.get("type", "string")
    if "contract_type" in declared and isinstance(kinds, str):
        expected.append(
            {"type": "expect_column_values_to_not_be_null", "severity": "quarantine", "args": {"column": name}}
        )
    if 0 < len(labels := declared.get("enum") or []) <= MOST_LABELS:
        arguments = {"column": name, "value_set": list(labels)}
        expected.append({"type": "expect_column_values_to_be_in_set", "severity": "warn", "args": arguments})
    return expected


def _freshness(
    declared: Mapping[str, Json], sample: Sequence[Row], order: list[str], mode: str, now: datetime
) -> str | None:
    """Return how often new rows are expected, if the sample shows that some came of late."""
    if mode == "overwrite":
        return None
    times = [n for n in declared if contract_type(declared[n]) == "timestamp" and (n in order or mode == "cdc")]
    instants = [at for row in sample for n in times if (at := _instant(row.get(n))) and at <= now]
    return FRESHNESS if instants and now - max(instants) <= FRESH else None


def _instant(value: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(value)) if value is not None else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def one_line(text: object) -> str:
    """Return a description without line breaks."""
    return " ".join(str(text).split())
