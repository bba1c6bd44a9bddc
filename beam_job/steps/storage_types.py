"""Arrow columns of any encoding in; the same values as plain types out, so that no other step meets an encoding."""

import uuid
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MOST_COLUMN_BYTES = 1 << 30  # Arrow's text of one array ends at 2 GiB
UUID, JSON, BOOL = "arrow.uuid", "arrow.json", "arrow.bool8"
TEXT_OR_BOOL = {UUID: pa.string(), BOOL: pa.bool_()}
TEXT = (pa.types.is_large_string, pa.types.is_string_view)
BYTES = (pa.types.is_large_binary, pa.types.is_binary_view)
LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


def is_json(kind: pa.DataType) -> bool:
    """Return true when a column is marked as JSON text."""
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == JSON


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type without dictionaries, runs, views, large offsets and extensions; a UUID is text."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return TEXT_OR_BOOL.get(kind.extension_name) or plain_type(kind.storage_type)
    if t.is_dictionary(kind) or t.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if any(holds(kind) for holds in TEXT):
        return pa.string()
    if any(holds(kind) for holds in BYTES):
        return pa.binary()
    if any(holds(kind) for holds in LISTS):
        return pa.list_(_plain_field(kind.value_field))
    if t.is_map(kind):
        return pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field))
    if t.is_struct(kind):
        return pa.struct([_plain_field(item) for item in kind])
    if t.is_decimal32(kind) or t.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    return kind


def _plain_field(item: pa.Field) -> pa.Field:
    plain = plain_type(item.type)
    return item if plain == item.type else pa.field(item.name, plain, item.nullable)


def column_type(kind: pa.DataType) -> pa.DataType:
    """Return the plain type of a column; text that is marked as JSON keeps its mark, which decides a new column."""
    return pa.json_(pa.string()) if is_json(kind) else plain_type(kind)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema after `plain_table`, without the metadata that restores the encodings."""
    return pa.schema([_column_field(item) for item in schema])


def _column_field(item: pa.Field) -> pa.Field:
    plain = column_type(item.type)
    return item if plain == item.type else pa.field(item.name, plain, item.nullable)


def plain_table(table: pa.Table, encoded: frozenset[str]) -> Iterator[pa.Table]:
    """Yield a table in order with these columns as plain types, in parts of at most MOST_COLUMN_BYTES of one column."""
    for part in split(table):
        for name in encoded.intersection(part.column_names):
            at, column = part.column_names.index(name), part.column(name)
            plain = column_type(column.type)
            chunks = pa.chunked_array([plain_array(chunk).cast(plain) for chunk in column.chunks], plain)
            part = part.set_column(at, _column_field(part.schema.field(at)), chunks)
        yield part


def split(table: pa.Table) -> Iterator[pa.Table]:
    """Yield a table in parts of at most MOST_COLUMN_BYTES of one decoded column, or of one row."""
    if table.num_rows <= 1 or _is_small(table):
        yield table
        return
    half = table.num_rows // 2
    yield from split(table.slice(0, half))
    yield from split(table.slice(half))


def _is_small(table: pa.Table) -> bool:
    if table.nbytes <= MOST_COLUMN_BYTES and not any(pa.types.is_dictionary(kind) for kind in table.schema.types):
        return True
    return max(map(_decoded_bytes, table.columns), default=0) <= MOST_COLUMN_BYTES


def _decoded_bytes(column: pa.ChunkedArray) -> int:
    kind = column.type
    if pa.types.is_dictionary(kind) and (pa.types.is_string(plain_type(kind)) or pa.types.is_binary(plain_type(kind))):
        return sum(_dictionary_bytes(chunk) for chunk in column.chunks)
    return int(column.nbytes)


def _dictionary_bytes(chunk: pa.DictionaryArray) -> int:
    lengths = pc.binary_length(chunk.dictionary.cast(plain_type(chunk.type)))
    return pc.sum(pc.cast(lengths, pa.int64()).take(chunk.indices)).as_py() or 0


def plain_array(array: pa.Array) -> pa.Array:
    """Return the array as `plain_type` of its type."""
    kind, t = array.type, pa.types
    plain = plain_type(kind)
    if isinstance(kind, pa.BaseExtensionType):
        return uuid_texts(array.storage) if kind.extension_name == UUID else plain_array(array.storage).cast(plain)
    if plain == kind:
        return array
    if t.is_dictionary(kind):
        return plain_array(array.dictionary_decode())
    if t.is_run_end_encoded(kind):
        return plain_array(pc.run_end_decode(array))
    if t.is_struct(kind):
        children = [plain_array(array.field(number)) for number in range(kind.num_fields)]
        return pa.StructArray.from_arrays(children, fields=list(plain), mask=array.is_null())
    if t.is_map(kind):
        first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
        keys, items = (plain_array(part.slice(first, last - first)) for part in (array.keys, array.items))
        offsets = pc.subtract(array.offsets, pa.scalar(first, pa.int32()))
        return pa.MapArray.from_arrays(offsets, keys, items, type=plain, mask=array.is_null())
    if t.is_nested(kind):
        items = plain_array(array.flatten())
        return pa.ListArray.from_arrays(_offsets(array), items, type=plain, mask=array.is_null())
    return array.cast(plain)


def _offsets(array: pa.Array) -> pa.Array:
    """Return the offsets of a list array's flattened items."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), pa.int32())


def uuid_text(value: bytes) -> str:
    """Return the usual text of a UUID's 16 bytes."""
    return str(uuid.UUID(bytes=value))


def uuid_texts(storage: pa.Array) -> pa.Array:
    """Return UUIDs of 16 bytes each as texts."""
    return pa.array([None if v is None else uuid_text(v) for v in storage.to_pylist()], pa.string())
