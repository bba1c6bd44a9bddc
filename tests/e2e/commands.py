"""Runs several command lines of `millrace` in one process, which imports its libraries once: JSON in, JSON out."""

import json
import sys

from typer.testing import CliRunner

from cli.main import app


def main() -> None:
    """Run each argument list of standard input; print the exit code, output and error of each."""
    results = [CliRunner().invoke(app, arguments) for arguments in json.load(sys.stdin)]
    reports = [[result.exit_code, result.stdout, result.stderr, repr(result.exception)] for result in results]
    sys.__stdout__.write(json.dumps(reports))  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
