"""A command line of `millrace` in, its exit code and output out, in the process of the test, which starts no other."""

import os
from collections.abc import Mapping
from subprocess import CompletedProcess
from unittest import mock

from typer.testing import CliRunner

from cli.main import app


def millrace(*arguments: str, env: Mapping[str, str] = os.environ) -> CompletedProcess[str]:
    """Run a command; raise what it raises beside an exit. The environment, which it may replace, is restored."""
    with mock.patch.dict(os.environ, dict(env), clear=True):
        result = CliRunner().invoke(app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)
