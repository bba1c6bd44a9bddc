"""Runs several command lines of `millrace` in one process, which imports its libraries once: JSON in, JSON out."""

import json
import sys

from typer.testing import CliRunner

from cli.main import app


def main() -> None:
    """Each argument list of standard input; of each the exit code, what it printed, and its error."""
    done = [CliRunner().invoke(app, arguments) for arguments in json.load(sys.stdin)]
    told = [[one.exit_code, one.stdout, one.stderr, repr(one.exception)] for one in done]
    sys.__stdout__.write(json.dumps(told))  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
