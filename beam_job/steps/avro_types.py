"""The JSON of an Avro schema in; the kinds of its fields, which decode them and become Arrow types, out.

https://avro.apache.org/docs/1.12.0/specification/#schema-declaration
"""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from beam_job.steps.avro_kinds import (
    INSTANTS,
    PRIMITIVES,
    UUID_BYTES,
    Json,
    Kind,
    array_kind,
    as_json,
    decimal_kind,
    enum_kind,
    fixed_kind,
    instant_kind,
    json_kind,
    map_kind,
    primitive_kind,
    record_kind,
    uuid_kind,
    wire_record,
)
from millrace.lake.avro import encode_number


@dataclass
class Names:
    """The named types that were read so far.

    Attributes:
        kinds: by full name; None while one is being read.
        own: our names of them, as a file's may be one that the decoder refuses, or stand for two types.
        recursive: those that contain themselves.
    """

    kinds: dict[str, Kind | None] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    recursive: set[str] = field(default_factory=set)
    defined: int = 0
    branches: int = 0

    def wrapped(self, wire: Json) -> Json:
        """Return a branch of a union as a record of one field, which has the same bytes and tells the branch."""
        if wire == "null":
            return wire
        self.branches += 1
        return {"type": "record", "name": f"u{self.branches}", "fields": [{"name": f"v{self.branches}", "type": wire}]}


def read_fields(schema: Json) -> dict[str, Kind]:
    """Return the kinds of the fields of a file's rows.

    Raises:
        ValueError: the rows are no records, or a type is unknown or incomplete.
    """
    while isinstance(schema, dict) and isinstance(schema.get("type"), dict):
        schema = schema["type"]
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise ValueError("the rows of the Avro file are no records")
    names = Names()
    fields = _fields(schema, names, _define(schema, "", names))
    names.kinds[_full_name(schema, "")] = record_kind(wire_record(fields), fields)  # for rows that contain rows
    return fields


def _fields(schema: Json, names: Names, space: str) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    for item in schema["fields"]:
        if item["name"] in kinds:
            raise ValueError(f"the Avro schema has two fields {item['name']}")
        kinds[item["name"]] = _kind(item["type"], names, space)
    return kinds


def _define(schema: Json, space: str, names: Names) -> str:
    """Begin a named type; return the namespace of the types within."""
    full = _full_name(schema, space)
    names.kinds[full], names.own[full] = None, f"t{names.defined}"
    names.defined += 1
    return full.rpartition(".")[0]


def _full_name(schema: Json, space: str) -> str:
    name, space = schema["name"], schema.get("namespace", space)
    return name if "." in name or not space else f"{space}.{name}"


def _kind(schema: Json, names: Names, space: str) -> Kind:
    match schema:
        case list():
            return _union([_kind(branch, names, space) for branch in schema], names)
        case str():
            return primitive_kind(schema) if schema in PRIMITIVES else _named(schema, names, space)
        case {"type": dict() | list() as inner}:
            return _kind(inner, names, space)
        case {"type": "array"}:
            return array_kind(_kind(schema["items"], names, space))
        case {"type": "map"}:
            return map_kind(_kind(schema["values"], names, space))
        case {"type": "record" | "error" | "enum" | "fixed"}:
            return _defined(schema, names, space)
        case {"type": str() as name}:
            return _logical(_kind(name, names, space), schema)
    raise ValueError(f"the Avro schema has an unknown type {json.dumps(schema)[:100]}")


def _named(name: str, names: Names, space: str) -> Kind:
    full = f"{space}.{name}" if space and f"{space}.{name}" in names.kinds else name
    if full not in names.kinds:
        raise ValueError(f"the Avro schema has an unknown type {name}")
    kind = names.kinds[full]
    if kind is None:
        names.recursive.add(full)
        return json_kind(names.own[full], lambda value: _later(names, full, value))
    return replace(kind, wire=names.own[full], end=None)


def _later(names: Names, full: str, value: Any) -> Json:
    kind = names.kinds[full]
    return value if kind is None else kind.to_json(value)


def _defined(schema: Json, names: Names, space: str) -> Kind:
    inner, full = _define(schema, space, names), _full_name(schema, space)
    own = names.own[full]
    wire: Json = {"type": schema["type"], "name": own}
    if schema["type"] == "enum":
        wire["symbols"] = [f"s{n}" for n in range(len(schema["symbols"]))]
        kind = enum_kind(wire, schema["symbols"])
    elif schema["type"] == "fixed":
        wire["size"] = size = int(schema["size"])
        kind = _logical(fixed_kind(wire, size), schema)
    else:
        fields = _fields(schema, names, inner)
        kind = record_kind(wire_record(fields, own), fields)
        kind = as_json(kind) if full in names.recursive else kind
    names.kinds[full] = kind
    return kind


def _union(branches: list[Kind], names: Names) -> Kind:
    """Return null or one type as that type, and several types as JSON text."""
    real = [branch for branch in branches if branch.wire != "null"]
    if len(real) <= 1:
        kind = real[0] if real else primitive_kind("null")
        end = None if kind.end is None or len(branches) > 2 else encode_number(branches.index(kind)) + kind.end
        plain = kind.plain and len(branches) <= 2
        return replace(kind, wire=[branch.wire for branch in branches], plain=plain, end=end)
    wires = [names.wrapped(branch.wire) for branch in branches]
    keys = [None if wire == "null" else wire["fields"][0]["name"] for wire in wires]
    by_key = dict(zip(keys, branches, strict=True))

    def to_json(value: Any) -> Json:
        ((key, part),) = value.items()
        return by_key[key].to_json(part)

    return json_kind(wires, to_json)


def _logical(kind: Kind, schema: Json) -> Kind:
    """Return a primitive or fixed type with its logical type; one that is unknown or invalid is left out."""
    base, name = schema["type"], schema.get("logicalType")
    if (base, name) in INSTANTS:
        return instant_kind(kind, *INSTANTS[base, name])
    if name == "decimal" and base in ("bytes", "fixed"):
        return decimal_kind(kind, schema.get("precision"), schema.get("scale", 0))
    if name == "uuid" and base == "fixed" and schema["size"] == UUID_BYTES:
        return uuid_kind(kind)
    return kind
