"""A PostgreSQL of a test's own, as a child process on 127.0.0.1, which can be killed and started again."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.servers import free_port, wait_until

OTHERS = ("postgres", "nobody")  # PostgreSQL refuses to run as root
OPTIONS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "60"}


def program(name: str) -> str:
    """Return the path of a program of PostgreSQL; skip the test where it is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    program = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))
    if not program:
        pytest.skip(f"PostgreSQL's {name} is not installed (apt-get install postgresql): nothing was run against it")
    return program


class Postgres:
    """A database cluster in a folder; `stop` ends its process as a crash does, `start` recovers it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._user = next(user for user in OTHERS if _exists(user)) if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address as Prefect takes it."""
        return f"postgresql+asyncpg://prefect@127.0.0.1:{self.port}/postgres"

    def initialise(self) -> None:
        """Make the cluster, without waiting for the disk: a killed process loses nothing that it wrote."""
        self.folder.chmod(0o700)
        if self._user:
            shutil.chown(self.folder, self._user)
        options = ["-U", "prefect", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", "-D", str(self.folder), *options)

    def start(self) -> None:
        """Start the server, and wait until it answers queries."""
        options = [part for name, value in OPTIONS.items() for part in ("-c", f"{name}={value}")]
        command = [program("postgres"), "-D", str(self.folder), "-p", str(self.port), "-c", "fsync=off", *options]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, user=self._user, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self.answers, "PostgreSQL answers", 60)

    def stop(self) -> None:
        """End the server at once, with all its connections, and without a checkpoint."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def answers(self) -> bool:
        """Return True while the server takes connections."""
        command = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def query(self, sql: str) -> list[str]:
        """Return the rows of a query, each as psql prints it unaligned."""
        command = [program("psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "prefect", "-d", "postgres", "-AtXc"]
        return subprocess.run([*command, sql], capture_output=True, text=True, check=True).stdout.splitlines()

    @property
    def log(self) -> Path:
        """Return the file of what the server says."""
        return self.folder.with_suffix(".log")

    def _run(self, name: str, *arguments: str) -> None:
        command = [program(name), *arguments]
        ran = subprocess.run(command, user=self._user, cwd="/", capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def _exists(user: str) -> bool:
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server, in a folder that its user may reach; both are gone at the end."""
    program("initdb")
    with tempfile.TemporaryDirectory(prefix="millrace-postgres-") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "cluster").mkdir()
        server = Postgres(Path(folder) / "cluster", free_port())
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
