"""`prefect_test_harness` with the local stack's fixes for SQLite, without which its server hangs for a minute.

With `MILLRACE_TEST_PREFECT_DATABASE=postgresql` its server is on PostgreSQL, as on Google Cloud.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
from prefect.settings import get_current_settings

from tests.support.postgres import Postgres, postgres
from tests.support.servers import ROOT

DATABASE, URL = "MILLRACE_TEST_PREFECT_DATABASE", "PREFECT_API_DATABASE_CONNECTION_URL"


@contextmanager
def harness() -> Iterator[None]:
    """A Prefect server of its own, and all settings that lead to it."""
    with _database() as database, _harness(database.url if database else ""):
        yield
        if database:
            assert int(database.query("SELECT count(*) FROM flow_run")[0]) > 0, "no flow run is in PostgreSQL"


def _database() -> AbstractContextManager[Postgres | None]:
    chosen = os.environ.get(DATABASE, "sqlite")
    if chosen not in ("sqlite", "postgresql"):
        raise ValueError(f"{DATABASE} is {chosen!r}; it is sqlite or postgresql")
    return postgres() if chosen == "postgresql" else nullcontext()


@contextmanager
def _harness(url: str) -> Iterator[None]:
    from prefect.server.api.server import SubprocessASGIServer  # it takes seconds, and few tests need it
    from prefect.testing.utilities import prefect_test_harness

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SubprocessASGIServer, "_run_uvicorn_command", lambda server: _start(server, url))
        with prefect_test_harness(server_startup_timeout=180):
            yield


def create_app() -> Any:
    """Prefect's application, in the process of its server."""
    from prefect.server.api.server import create_app as create

    import local.stack.prefect_server  # noqa: F401  it listens to SQLite's engine from here on

    return create()


def _start(server: Any, url: str) -> "subprocess.Popen[bytes]":
    """As Prefect does it, but for the application and the database."""
    own = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    own["PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION"] = "0"  # else it imports all collections, which takes seconds
    own |= {URL: url, "PREFECT_SERVER_DATABASE_CONNECTION_URL": url} if url else {}
    options = f"--factory {__name__}:create_app --host 127.0.0.1 --port {server.port} --log-level error --lifespan on"
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT), *options.split()],
        env=os.environ | get_current_settings().to_environment_variables(exclude_unset=True) | own,
    )
