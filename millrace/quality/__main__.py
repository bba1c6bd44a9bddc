"""Runs the gate by hand: `python -m millrace.quality --candidate duckdb:///FILE [--suites expectations] [--docs DIR]`."""

import argparse
import sys
from pathlib import Path

from millrace.domain.errors import MillraceError
from millrace.quality.gate import validate
from millrace.quality.suites import load_suites


def main() -> int:
    """Print a line per expectation; 1 when the gate would refuse, 2 when it can't be asked."""
    parser = argparse.ArgumentParser(prog="python -m millrace.quality", description=__doc__)
    parser.add_argument("--candidate", required=True, help="duckdb:///FILE or bigquery://PROJECT/DATASET")
    parser.add_argument("--suites", type=Path, default=Path("expectations"), help="folder of suites (expectations)")
    parser.add_argument("--docs", type=Path, help="folder for Data Docs")
    options = parser.parse_args()
    try:
        report = validate(options.candidate, load_suites(options.suites), options.docs)
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    for result in report.results:
        mark = "ok  " if result.success else result.severity
        print(f"{mark} {result}")
    print(f"{sum(r.success for r in report.results)} of {len(report.results)} expectations hold")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
