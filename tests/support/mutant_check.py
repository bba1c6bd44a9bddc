"""A merge that lacks a part in; a failure of the test unless its result is found to be wrong, out."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from millrace.domain.errors import MillraceError


@contextmanager
def expect_fault() -> Iterator[None]:
    """Expect that the block finds a fault; the end of the test's time is none."""
    with pytest.raises((AssertionError, MillraceError, pytest.fail.Exception)) as caught:
        yield
    assert not str(caught.value).startswith("Timeout"), "no fault was found in time"
