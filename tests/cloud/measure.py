"""`python -m tests.cloud.measure [suite…]`: run suites on local servers, and write their calls into `plan.json`."""

import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.cloud.budget import Limits
from tests.cloud.journal import Journal
from tests.cloud.names import new_run
from tests.cloud.suites import PLAN, SUITES, planned_json, run_suite, suite_of
from tests.support.google_project import Cloud, cloud


def measure(place: Cloud, folder: Path, name: str, only: str) -> tuple[Counter[str], int, int]:
    """Run a suite, or only some tests; return calls by method, tables that queries name, and the number of tests."""
    os.environ.update(place.environment)
    ran = run_suite(suite_of(name), place.target, new_run(), folder, Limits(), datasets=[], only=only)
    if failed := [result.title for result in ran.results if result.outcome != "pass"]:
        raise SystemExit(f"the suite {name} does not pass on local servers ({', '.join(failed)}); see {folder}")
    lines = [line for line in Journal(folder).lines() if line["step"] == name]
    tables = sum(int(line.get("tables", 0)) for line in lines)
    return Counter(line["method"] for line in lines), tables, len(ran.results)


def main() -> int:
    """Measure the suites that are named, or all but the job on Dataflow; `bigquery:WORDS` takes some tests of it."""
    plan = json.loads(PLAN.read_text())
    for argument in sys.argv[1:] or [suite.name for suite in SUITES if suite.name != "dataflow"]:
        name, _, only = argument.partition(":")
        folder = Path(tempfile.mkdtemp(prefix="millrace-measure-"))
        with cloud(folder, emulated=name == "bigquery") as place:
            calls, tables, counted = measure(place, folder / "run", name, only)
        tests = counted if not only else plan[name]["tests"]
        plan[name] = planned_json(calls, tables, tests, counted)
        PLAN.write_text(json.dumps(plan, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
