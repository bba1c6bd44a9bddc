"""A batch's objects in groups of bounded size: what one step reads, and what one staging file of each kind holds."""

from collections.abc import Iterator
from dataclasses import dataclass

from millrace.domain.batch import Batch, BatchObject

UNIT_BYTES = 64 << 20
UNIT_FILES = 256


@dataclass(frozen=True)
class Unit:
    """Consecutive objects of a batch, from place `first` on; an object is never divided."""

    number: int
    first: int
    objects: tuple[BatchObject, ...]

    def places(self) -> Iterator[tuple[int, BatchObject]]:
        """Each object with its place in the batch."""
        yield from enumerate(self.objects, self.first)


def units(batch: Batch) -> list[Unit]:
    """The units of a batch, the same in every run of it."""
    found: list[Unit] = []
    held: list[BatchObject] = []
    first = size = 0
    for place, what in enumerate(batch.objects):
        if held and (size + what.size > UNIT_BYTES or len(held) == UNIT_FILES):
            found.append(Unit(len(found), first, tuple(held)))
            held, first, size = [], place, 0
        held.append(what)
        size += what.size
    return [*found, Unit(len(found), first, tuple(held))] if held else found
