"""Writes files of a stack's state whole, so that no reader sees half of one."""

import secrets
from pathlib import Path


def write_atomically(file: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file whole."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    temporary.touch(mode)
    temporary.write_text(text)
    temporary.replace(file)
