"""dlt's environment: of its own, as its pins are not ours, but with our versions of what does the work."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

DLT = "1.31.0"
SHARED = ("duckdb", "pyarrow", "polars")


class NotInstalled(Exception):
    """The environment can't be created; the message has the reason."""


def requirements() -> list[str]:
    """Return the pinned packages of the environment."""
    return [f"dlt[duckdb]=={DLT}", *(f"{name}=={version(name)}" for name in SHARED)]


def make(folder: Path) -> str:
    """The environment's Python; made when it is not there, or is for other versions.

    Raises:
        NotInstalled: without a package index, say.
    """
    python, made_for = folder / "bin" / "python", folder / "made-for.txt"
    fingerprint = "\n".join([sys.version, *requirements()])
    if made_for.exists() and made_for.read_text() == fingerprint:
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    _uv("venv", "--python", sys.executable, str(folder))
    _uv("pip", "install", "--compile-bytecode", "--python", str(python), *requirements())
    made_for.write_text(fingerprint)
    return str(python)


def _uv(*arguments: str) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise NotInstalled("uv is not installed; `make setup` installs it")
    completed = subprocess.run(
        [uv, *arguments], env=os.environ | {"UV_SYSTEM_CERTS": "1"}, capture_output=True, text=True, check=False
    )
    if completed.returncode:
        error = completed.stderr.strip()[-1000:]
        raise NotInstalled(f"uv {' '.join(arguments[:2])} failed with {completed.returncode}: {error}")
