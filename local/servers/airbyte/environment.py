"""The environment of connectors from the package index: their own, as their pins are not ours; made on first use."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("connectors.txt")
FOLDER = Path(__file__).resolve().parents[3] / ".venv-connectors"
COMMANDS = {
    "airbyte/source-declarative-manifest": "source-declarative-manifest",
    "airbyte/source-faker": "source-faker",
}
DECLARATIVE = "airbyte/source-declarative-manifest"


class NotInstalled(Exception):
    """The environment can't be created; the message has the reason."""


def installed(image: str, folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the command of one of these connectors; install all of them, by their hashes, when they are missing.

    Raises:
        NotInstalled: without a package index, say.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:  # uv has a lock inside
        fcntl.flock(lock, fcntl.LOCK_EX)
        made_for, fingerprint = folder / "made-for.txt", "\n".join([sys.version, LOCK.read_text()])
        if not made_for.exists() or made_for.read_text() != fingerprint:
            made_for.unlink(missing_ok=True)
            _uv("venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder))
            python = str(folder / "bin" / "python")
            _uv("pip", "sync", "--quiet", "--require-hashes", "--python", python, str(LOCK))
            made_for.write_text(fingerprint)
    return str(folder / "bin" / "python"), "-I", str(folder / "bin" / COMMANDS[image])


def _uv(*arguments: str) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise NotInstalled("uv is not installed; `make setup` installs it")
    environment = os.environ | {"UV_SYSTEM_CERTS": "1"}
    completed = subprocess.run([uv, *arguments], env=environment, capture_output=True, text=True, check=False)
    if completed.returncode:
        error = completed.stderr.strip()[-800:]
        raise NotInstalled(f"uv {' '.join(arguments[:2])} failed with {completed.returncode}: {error}")
