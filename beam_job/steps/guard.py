"""A computation on a file's rows in; its result out, or a FileRejected that names the file, whatever it raised."""

from collections.abc import Iterator
from contextlib import contextmanager

from millrace.domain.errors import FileRejected, MillraceError

NOT_OF_THE_FILE = (MillraceError, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit)


@contextmanager
def rejecting(name: str) -> Iterator[None]:
    """Turn any error of a computation on the file's values into the file's rejection, so that its stream goes on.

    The block must not touch the lake or the warehouse: their errors are not the file's. Libraries in Rust raise a
    panic that is no `Exception`.

    Raises:
        FileRejected: the message has the class of the error and its first line.
    """
    try:
        yield
    except NOT_OF_THE_FILE:
        raise
    except BaseException as error:
        raise FileRejected(f"file.unreadable: {name}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """Return an error as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
