"""A computation on a file's rows in; its result out, or a FileRejected that names the file, whatever it raised."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import polars as pl

from millrace.domain.errors import FileRejected, MillraceError


def describe(error: BaseException) -> str:
    """Return an error as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def rejecting(name: str, reason: Callable[[BaseException], str] = describe) -> Iterator[None]:
    """Turn any error of a computation on the file's values into the file's rejection, so that its stream goes on.

    The block must not touch the lake or the warehouse: their errors are not the file's. Nor are signals that end the
    process, which are no `Exception`; the panic of a library in Rust is none either, but it is the file's.

    Raises:
        FileRejected: the message has the file's name and the error's `reason`, one line.
    """
    try:
        yield
    except (MillraceError, MemoryError):
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        raise FileRejected(f"file.unreadable: {name}: {reason(error)}") from error
