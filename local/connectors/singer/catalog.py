"""A tap's catalog in; streams of the Airbyte protocol, and the tap's catalog with a selection, out.

https://hub.meltano.com/singer/spec
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from local.connectors.protocol import Json, Stream

OUTSIDE = re.compile(r"[^a-z0-9_]+")
LOG_BASED, INCREMENTAL, FULL_TABLE = "LOG_BASED", "INCREMENTAL", "FULL_TABLE"
# The log's columns as taps name them, and as contracts do.
LOG = {"_sdc_lsn": "_ab_cdc_lsn", "_sdc_deleted_at": "_ab_cdc_deleted_at"}
LOG_TYPES: Json = {
    "_ab_cdc_lsn": {"type": ["null", "integer"]},
    "_ab_cdc_updated_at": {"type": ["null", "string"]},
    "_ab_cdc_deleted_at": {"type": ["null", "string"]},
}
DIGITS, SCALE = 38, 9


def stream_name(entry: Json) -> str:
    """Return the name of a tap's stream in contracts: small letters, digits and `_`."""
    name = OUTSIDE.sub("_", str(entry.get("tap_stream_id") or entry["stream"]).lower()).strip("_")
    return name if name[:1].isalpha() else f"stream_{name}"


def to_stream(entry: Json) -> Json:
    """Return a stream of the Airbyte protocol."""
    root, properties = _metadata(entry), entry["schema"].get("properties", {})
    key = root.get("table-key-properties") or entry.get("key_properties") or []
    cursor = root.get("replication-key") or entry.get("replication_key") or next(iter(_cursors(root)), "")
    columns = {name: _property(declared) for name, declared in properties.items() if name not in LOG}
    log = is_logged(entry)
    stream: Json = {
        "name": stream_name(entry),
        "supported_sync_modes": ["full_refresh"] + (["incremental"] if log or _has_cursor(root, cursor, key) else []),
        "json_schema": {"type": "object", "properties": columns | (LOG_TYPES if log else {})},
        "source_defined_primary_key": [[name] for name in key],
    }
    if log:
        stream |= {"source_defined_cursor": True, "default_cursor_field": ["_ab_cdc_lsn"]}
    elif cursor:
        stream["default_cursor_field"] = [cursor]
    return stream


def is_logged(entry: Json) -> bool:
    """Return true when the tap reads the stream from its database's log."""
    return _method(_metadata(entry), entry) == LOG_BASED


def select(entries: Sequence[Json], chosen: Mapping[str, Stream]) -> Json:
    """Return the tap's catalog with the chosen streams selected, each by the log, its cursor, or in full."""
    return {"streams": [_selected(entry, chosen.get(stream_name(entry))) for entry in entries]}


def _selected(entry: Json, stream: Stream | None) -> Json:
    """Return an entry with all its columns selected, or none: in the metadata, and where old taps look."""
    root: Json = _metadata(entry) | {"selected": stream is not None}
    if stream and stream.incremental and not is_logged(entry):
        root |= {"replication-method": INCREMENTAL, "replication-key": stream.cursor or root.get("replication-key")}
    elif stream and not stream.incremental:
        root["replication-method"] = FULL_TABLE
    others = [
        part | {"metadata": part["metadata"] | {"selected": stream is not None}}
        for part in entry.get("metadata", [])
        if part["breadcrumb"]
    ]
    own = {"replication_method": root.get("replication-method"), "replication_key": root.get("replication-key")}
    schema = entry["schema"] | {"selected": stream is not None}
    metadata = [{"breadcrumb": [], "metadata": root}, *others]
    return entry | {k: v for k, v in own.items() if v} | {"schema": schema, "metadata": metadata}


def _metadata(entry: Json) -> Json:
    parts = entry.get("metadata") or []
    return dict(next((part["metadata"] for part in parts if not part["breadcrumb"]), {}))


def _method(root: Json, entry: Json) -> str:
    return str(
        root.get("forced-replication-method") or root.get("replication-method") or entry.get("replication_method") or ""
    )


def _cursors(root: Json) -> list[str]:
    named = root.get("valid-replication-keys") or []
    return [named] if isinstance(named, str) else list(named)


def _has_cursor(root: Json, cursor: str, key: Sequence[str]) -> bool:
    """Return true when the tap has a cursor, or leaves its choice open, as those of databases do."""
    return root.get("forced-replication-method") != FULL_TABLE and bool(cursor or key)


def _property(declared: Json) -> Json:
    """Return a property with the contract's type where Singer says more than JSON schema: exact decimals."""
    declared = next((d for d in declared.get("anyOf", []) if d.get("format") or d.get("type") != ["null"]), declared)
    kinds = declared.get("type", "string")
    kind = next((k for k in ([kinds] if isinstance(kinds, str) else kinds) if k != "null"), "string")
    if kind == "number" and (step := declared.get("multipleOf")):
        scale = max(-int(Decimal(str(step)).as_tuple().exponent), 0)
        return {"type": ["null", "string"], "contract_type": f"decimal({DIGITS},{min(scale, DIGITS)})"}
    if declared.get("format") == "singer.decimal":
        return {"type": ["null", "string"], "contract_type": f"decimal({DIGITS},{SCALE})", "any_digits": True}
    annotations = {k: declared[k] for k in ("format", "description") if declared.get(k)}
    return {"type": ["null", kind]} | annotations


def decimals(stream: Json) -> set[str]:
    """Return the columns of a stream whose numbers keep all digits."""
    properties: Mapping[str, Any] = stream["json_schema"]["properties"]
    return {name for name, p in properties.items() if str(p.get("contract_type", "")).startswith("decimal")}
