"""`prefect_test_harness` with the local stack's fixes for SQLite, without which its server hangs for a minute."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prefect.settings import get_current_settings

from tests.support.servers import ROOT


@contextmanager
def harness() -> Iterator[None]:
    """A Prefect server of its own, and all settings that lead to it."""
    from prefect.server.api.server import SubprocessASGIServer  # it takes seconds, and few tests need it
    from prefect.testing.utilities import prefect_test_harness

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SubprocessASGIServer, "_run_uvicorn_command", _start)
        with prefect_test_harness(server_startup_timeout=180):
            yield


def create_app() -> Any:
    """Prefect's application, in the process of its server."""
    from prefect.server.api.server import create_app as create

    import local.stack.prefect_server  # noqa: F401  it listens to SQLite's engine from here on

    return create()


def _start(server: Any) -> "subprocess.Popen[bytes]":
    """As Prefect does it, but for the application."""
    own = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    options = f"--factory {__name__}:create_app --host 127.0.0.1 --port {server.port} --log-level error --lifespan on"
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT), *options.split()],
        env=os.environ | own | get_current_settings().to_environment_variables(exclude_unset=True),
    )
