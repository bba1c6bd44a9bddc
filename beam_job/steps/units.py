"""A batch in, its objects in units of bounded size out; a step reads one, and a staging file holds rows of one."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from millrace.domain.batch import Batch, BatchObject

UNIT_BYTES = 64 << 20
UNIT_FILES = 256


@dataclass(frozen=True)
class Unit:
    """Consecutive objects of a batch from index `first` on; an object is never split."""

    number: int
    first: int
    objects: tuple[BatchObject, ...]

    @cached_property
    def object_names(self) -> pa.Array:
        """Return the names of its objects, each once; parts of an object share theirs."""
        return pa.array(list(self._codes))

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(dict.fromkeys(obj.name for obj in self.objects))}

    def name_code(self, index: int) -> int:
        """Return the position in `object_names` of the object with an index in the batch."""
        return self._codes[self.objects[index - self.first].name]

    def indexed_objects(self) -> Iterator[tuple[int, BatchObject]]:
        """Yield each object with its index in the batch."""
        yield from enumerate(self.objects, self.first)


def units(batch: Batch) -> list[Unit]:
    """Return the units of a batch; they are the same in every run."""
    complete: list[Unit] = []
    current: list[BatchObject] = []
    first = size = 0
    for index, obj in enumerate(batch.objects):
        if current and (size + obj.size > UNIT_BYTES or len(current) == UNIT_FILES):
            complete.append(Unit(len(complete), first, tuple(current)))
            current, first, size = [], index, 0
        current.append(obj)
        size += obj.size
    return [*complete, Unit(len(complete), first, tuple(current))] if current else complete
