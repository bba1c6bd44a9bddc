"""Environments of connectors from the package index: their own, as their pins are not ours; made on first use."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from millrace.project import CHECKOUT, current_project

LOCK = Path(__file__).with_name("connectors.txt")
COMMANDS = {
    "airbyte/source-declarative-manifest": "source-declarative-manifest",
    "airbyte/source-faker": "source-faker",
}
DECLARATIVE = "airbyte/source-declarative-manifest"


class NotInstalled(Exception):
    """The environment can't be created; the message has the reason."""


def environments() -> Path:
    """Return the folder of the environments: beside `.venv`, or in the state of a project without a checkout."""
    if CHECKOUT:
        return CHECKOUT / ".venv-connectors"
    return Path(os.environ.get("MILLRACE_STATE") or current_project().state) / "connectors"


def installed(image: str, folder: Path | None = None) -> tuple[str, ...]:
    """Return the command of one of the connectors that the platform pins itself.

    Raises:
        NotInstalled: without a package index, say.
    """
    return install(LOCK, COMMANDS[image], folder or environments())


def install(lock: Path, program: str, folder: Path) -> tuple[str, ...]:
    """Install the packages of a lock file by their hashes, if necessary; return the command of one of their programs.

    Raises:
        NotInstalled: a package can't be had, or has no such program.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as held:  # uv has a lock inside
        fcntl.flock(held, fcntl.LOCK_EX)
        made_for, fingerprint = folder / "made-for.txt", "\n".join([sys.version, lock.read_text()])
        if not made_for.exists() or made_for.read_text() != fingerprint:
            made_for.unlink(missing_ok=True)
            run_uv("venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder))
            python = str(folder / "bin" / "python")
            run_uv("pip", "sync", "--quiet", "--require-hashes", "--python", python, str(lock))
            made_for.write_text(fingerprint)
    script = folder / "bin" / program
    if not script.exists():
        raise NotInstalled(f"its packages have no program {program!r}; set `program` to the command that they install")
    return str(folder / "bin" / "python"), "-I", str(script)


def write_lock(package: str, lock: Path) -> None:
    """Resolve a package, and write it with all that it needs and their hashes.

    Raises:
        NotInstalled: it can't be resolved.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    wanted = lock.with_suffix(".in")
    wanted.write_text(package + "\n")
    python = ("--python", sys.executable)
    run_uv("pip", "compile", "--quiet", "--generate-hashes", "--no-header", *python, str(wanted), "-o", str(lock))


def run_uv(*arguments: str) -> None:
    """Run uv.

    Raises:
        NotInstalled: with its last words.
    """
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise NotInstalled("uv is not installed; `make setup` installs it")
    environment = os.environ | {"UV_SYSTEM_CERTS": "1"}
    completed = subprocess.run([uv, *arguments], env=environment, capture_output=True, text=True, check=False)
    if completed.returncode:
        error = completed.stderr.strip()[-800:]
        raise NotInstalled(f"uv {' '.join(arguments[:2])} failed with {completed.returncode}: {error}")
