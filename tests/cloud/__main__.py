"""`python -m tests.cloud`: check a project on Google Cloud, run the conformance suites there, clean up."""

import json
import os
import sys

from tests.cloud.budget import OverBudget, check_limits
from tests.cloud.checks.check import Result
from tests.cloud.dry_run import dump, estimate, rows, table
from tests.cloud.options import Options, options_of
from tests.cloud.results import line, summary
from tests.cloud.run import Run


def show_plan(options: Options) -> int:
    """Print what a run would do; return 1 when it would pass a limit."""
    planned_rows = list(rows(options))
    used = estimate(options)
    try:
        check_limits(used, options.limits)
        refusal = ""
    except OverBudget as error:
        refusal = str(error)
    if options.json:
        print(json.dumps(dump(planned_rows, options) | {"refused": refusal}, indent=1))
        return int(bool(refusal))
    print(table(planned_rows))
    scanned = used.scanned_bytes / 1024**3
    print(f"\n{used.calls:,} calls of the suites, {used.objects:,} objects, {scanned:.1f} GiB read by queries")
    print(f"estimated cost: ${used.cost:.2f} (list prices), limit: ${options.limits.cost:.2f}")
    if refusal:
        print(f"refused: {refusal}")
    print("Nothing was called.")
    return int(bool(refusal))


def main() -> int:
    """Do what the command line says; return the exit code."""
    options = options_of(sys.argv[1:], os.environ)
    if options.dry_run:
        return show_plan(options)

    def say(result: Result) -> None:
        if not options.json:
            print(line(result), flush=True)

    run = Run(options, say)
    if not options.json:
        where = "Google Cloud" if options.target.is_google else "other servers"
        print(f"run {run.id} of project {options.target.project} on {where}", flush=True)
    report = run()
    print(json.dumps(report.dump(), indent=1) if options.json else summary(report))
    return report.code


if __name__ == "__main__":
    sys.exit(main())
