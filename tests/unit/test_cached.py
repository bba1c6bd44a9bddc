"""Kept results of functions of types: worked out once, also for types that can't be keys."""

from typing import Any

import pyarrow as pa

from beam_job.steps.cached import cached


class Unhashable(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    """A type that another library registers, which compares without a hash."""

    def __init__(self) -> None:
        super().__init__(pa.int64(), "someone.unhashable")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)


def test_result_is_worked_out_once_for_each_argument() -> None:
    calls: list[Any] = []

    @cached
    def text(kind: pa.DataType) -> str:
        calls.append(kind)
        return str(kind)

    kinds = [pa.int64(), pa.list_(pa.string()), pa.int64(), pa.list_(pa.string()), pa.list_(pa.binary())]
    assert [text(kind) for kind in kinds] == [str(kind) for kind in kinds]
    assert calls == [pa.int64(), pa.list_(pa.string()), pa.list_(pa.binary())]


def test_unhashable_type_is_worked_out_each_time() -> None:
    calls: list[Any] = []

    @cached
    def names(schema: pa.Schema) -> list[str]:
        calls.append(schema)
        return list(schema.names)

    schema = pa.schema([("id", Unhashable())])
    assert names(schema) == names(schema) == ["id"]
    assert len(calls) == 2
