"""What goes from one step to the next: as bytes, or on this machine's disk, so that memory is bounded in process."""

import uuid
from pathlib import Path


def park(data: bytes, folder: str) -> bytes:
    """What stands for `data` on its way: a file's name where there is a folder, else the data."""
    if not folder:
        return data
    path = Path(folder) / uuid.uuid4().hex
    path.write_bytes(data)
    return str(path).encode()


def fetch(parcel: bytes, folder: str) -> bytes:
    """The data again."""
    return Path(parcel.decode()).read_bytes() if folder else parcel
