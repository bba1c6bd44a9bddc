"""An object of the lake as a file for the readers of formats, which tells the lake's errors from the object's."""

import io
from typing import Any, BinaryIO


class Source(io.RawIOBase):
    """A file that remembers the error with which its lake failed to serve it: that is no fault of the data."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: Exception | None = None

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position; only one from the end asks the lake."""
        if whence != io.SEEK_END:
            return self._file.seek(offset, whence)
        return int(self._asking(self._file.seek, offset, whence))

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        return bytes(self._asking(self._file.read, size))

    def _asking(self, ask: Any, *arguments: int) -> Any:
        try:
            return ask(*arguments)
        except Exception as error:
            self.error = error
            raise
