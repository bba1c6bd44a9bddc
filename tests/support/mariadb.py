"""A MariaDB of a test's own, as a child process on 127.0.0.1."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.support.servers import free_port, wait_until

PASSWORD = "geheim"


def program(*names: str) -> str:
    """Return the path of a program of MariaDB or MySQL; skip the test where it is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    found = next((at for name in names if (at := shutil.which(name, path=path))), None)
    if not found:
        pytest.skip(
            f"{names[0]} is not installed (apt-get install mariadb-server-core mariadb-client): nothing was run against"
            " MariaDB"
        )
    return found


class MariaDb:
    """A running server with a database `shop` and a user `reader`."""

    def __init__(self, port: int, socket: Path) -> None:
        self.port, self._socket = port, socket

    def query(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the administrator; return the rows of the last."""
        user = pwd.getpwuid(os.geteuid()).pw_name
        connection = pymysql.connect(unix_socket=str(self._socket), user=user, autocommit=True)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def answers(self) -> bool:
        """Return True once the server takes connections."""
        try:
            self.query("SELECT 1")
        except pymysql.MySQLError:
            return False
        return True

    @property
    def config(self) -> dict[str, Any]:
        """The connector's configuration."""
        address = {"host": "127.0.0.1", "port": self.port, "database": "shop"}
        return address | {"username": "reader", "password": PASSWORD}


@contextmanager
def mariadb() -> Iterator[MariaDb]:
    """A running server, in a folder of its own; both are gone at the end."""
    install, server = program("mariadb-install-db", "mysql_install_db"), program("mariadbd", "mysqld")
    program("my_print_defaults")  # which the installation runs
    with tempfile.TemporaryDirectory(prefix="millrace-mariadb-") as name:
        folder, user = Path(name), pwd.getpwuid(os.geteuid()).pw_name
        options = ["--no-defaults", f"--datadir={folder}/data", f"--user={user}"]
        made = subprocess.run(
            [install, *options, "--skip-test-db", "--auth-root-authentication-method=socket"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        running = MariaDb(free_port(), folder / "socket")
        own = [f"--port={running.port}", f"--socket={folder}/socket", "--bind-address=127.0.0.1"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([server, *options, *own, f"--pid-file={folder}/pid"], stdout=log, stderr=log)
        try:
            wait_until(running.answers, "MariaDB answers", 60)
            running.query(
                "CREATE DATABASE shop",
                f"CREATE USER reader@'%' IDENTIFIED BY '{PASSWORD}'",
                "GRANT SELECT ON shop.* TO reader",
            )
            yield running
        finally:
            process.terminate()
            process.wait(60)
