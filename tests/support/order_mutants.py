"""Mutants of the order of rows: the merge without a part of the versions, or with another rule for their values."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

from beam_job.steps import keys
from beam_job.steps.keys import Origin
from millrace.domain.batch import min_version

Patches = list[Any]


def _origin(**parts: Callable[[Origin], bytes]) -> Patches:
    """Replace parts of the versions of an object's rows."""
    return [mock.patch.object(Origin, name, property(part)) for name, part in parts.items()]


def tie_break() -> Patches:
    """Rows of equal cursors have no order across files."""
    return _origin(job=lambda origin: bytes(16), file=lambda origin: bytes(16))


def epoch() -> Patches:
    """The connection's epoch does not order rows."""
    return _origin(head=lambda origin: bytes.fromhex(min_version(0, origin.generation_id)))


def generation() -> Patches:
    """Airbyte's generation does not order rows."""
    return _origin(head=lambda origin: bytes.fromhex(min_version(origin.epoch, 0)))


def mended_generation() -> Patches:
    """A rewritten object is not newer than it was before."""
    original: Any = Origin.file
    return _origin(file=lambda origin: original.fget(replace(origin, generation=0)))


def null_order() -> Patches:
    """A NULL cursor is a zero."""
    original = keys._fixed
    zero = pa.scalar(0)
    return [mock.patch.object(keys, "_fixed", lambda column: original(column.fill_null(zero.cast(column.type))))]


def nan_order() -> Patches:
    """NaN is the lowest number."""
    original = keys._floats

    def mutated(column: pa.Array) -> Any:
        words = original(column)
        words[words == np.uint64(0xFFFFFFFFFFFFFFFF)] = np.uint64(1)
        return words

    return [mock.patch.object(keys, "_floats", mutated)]


def zero_order() -> Patches:
    """-0.0 is lower than 0.0."""
    original = keys._floats

    def mutated(column: pa.Array) -> Any:
        words, values = original(column), column.fill_null(0.0).to_numpy(zero_copy_only=False)
        return words - ((values == 0.0) & np.signbit(values)).astype(np.uint64)

    return [mock.patch.object(keys, "_floats", mutated)]


def text_order() -> Patches:
    """The end of a text is not marked: the text "a" with what follows it may sort above "a\\0"."""
    return [mock.patch.object(keys, "_text", lambda value: keys.NULL if value is None else keys.VALUE + value)]


def collisions() -> Patches:
    """Keys of one hash are one key."""
    return [mock.patch("beam_job.steps.winners._same_as_next", lambda column: np.ones(len(column) - 1, np.bool_))]
