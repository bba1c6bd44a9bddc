"""`python -m tests.cloud.page [--check | --add RESULTS.json]`: write docs/cloud-runs.md from accepted results of runs.

Accepted results are in `tests/data/google/runs/`, without the names of projects and people.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.cloud.discovery import Json
from tests.cloud.masking import EMAIL
from tests.cloud.results import FORMAT
from tests.cloud.suites import SUITES
from tests.support.servers import ROOT

PAGE = ROOT / "docs" / "cloud-runs.md"
RUNS = ROOT / "tests" / "data" / "google" / "runs"
AREAS = ("project", "service accounts", "lake", "events", "secrets", "warehouse", "quotas")
HEADER = """# What was run on Google Cloud

Written by `python -m tests.cloud.page` from the results of `make cloud-smoke`, which are kept in
`tests/data/google/runs`; a test compares the page with them.

"""
NOTHING = """**Nothing was run on Google Cloud.** We had no project. All that these pages say about Google's services is
from Google's documentation and descriptions of its APIs, and from tests against local servers and emulators.

"""
HOW = """## Run it

The kit deploys nothing. It first checks a project, which only reads; then it executes the conformance suites in
resources of its own, named `millrace-smoke-<id>`, and removes them, also after a signal.

```bash
make cloud-smoke PROJECT=millrace-example ARGS=--dry-run   # each check and operation, with permissions and cost
make cloud-smoke PROJECT=millrace-example ARGS=--checks    # only the checks
make cloud-smoke PROJECT=millrace-example                  # all of it
make cloud-smoke PROJECT=millrace-example ARGS=--clean-up  # what a run that died has left
```

Each resource has the label `millrace-smoke`. Objects, tables, secrets and idle subscriptions expire after about a
day; buckets and topics can't expire, and cost nothing when they are empty. Limits: `--max-cost` (2 dollars by
default, estimated with list prices from memory), `--max-calls`, `--max-objects`, `--max-query-bytes`,
`--max-scanned-bytes`. Each call is counted before it is sent, and refused if it would pass a limit, or if it would do
more than read the settings of a resource that does not have the name of the run.

It uses the credentials of `gcloud auth application-default login`. Exit codes: 0 all passed, 1 something failed, 2
something could not be checked. Results are in `.millrace/cloud-smoke/<time>-<id>.json`, answers of the services beside
them. Accept the results of a run with `python -m tests.cloud.page --add FILE`.
"""


class NotAccepted(Exception):
    """Results that do not show what Google Cloud does."""


def accept(path: Path, runs: Path = RUNS) -> Path:
    """Copy results without names of projects and people; return the copy. Raises NotAccepted."""
    content: Json = json.loads(path.read_text())
    if content.get("format") != FORMAT:
        raise NotAccepted(f"{path} does not have format {FORMAT}; it is not a file of results of this version")
    if content["on"] != "Google Cloud":
        raise NotAccepted(f"{path} is of a run on {content['on']}, which shows nothing about Google Cloud")
    if content["state"] != "ended":
        raise NotAccepted(f"{path} is of a run that did not end ({content['state']})")
    text = re.sub(rf"\b{re.escape(content['project'])}\b", "PROJECT", json.dumps(content, indent=1))
    runs.mkdir(parents=True, exist_ok=True)
    copy = runs / f"{path.stem}.json"
    copy.write_text(EMAIL.sub(lambda m: m[0] if m[0].endswith("gserviceaccount.com") else "someone", text) + "\n")
    return copy


def load(runs: Path = RUNS) -> list[Json]:
    """Return the accepted results, newest first."""
    return sorted(
        (json.loads(path.read_text()) for path in runs.glob("*.json")), key=lambda r: r["began"], reverse=True
    )


def render(runs: list[Json]) -> str:
    """Return the page."""
    return HEADER + (NOTHING if not runs else "") + "".join(_parts(runs)) + HOW


def _parts(runs: list[Json]) -> Iterator[str]:
    yield "## Parts\n\n| part | last run | outcome |\n|---|---|---|\n"
    names = [*(("checks: " + area, area) for area in AREAS), *((f"suite: {s.title}", s.name) for s in SUITES)]
    for title, area in names:
        yield f"| {title} | {_last(runs, area)} |\n"
    yield "\n"
    if not runs:
        return
    yield (
        "## Runs\n\n| began | commit | passed | failed | unknown | dollars, estimated | clean-up |\n"
        + "|---" * 7
        + "|\n"
    )
    for run in runs:
        counts = [_count(run["results"], outcome) for outcome in ("pass", "fail", "unknown")]
        cells = [run["began"], run["commit"] or "unknown", *counts, run["use"].get("cost", 0), _cleaned(run)]
        yield "| " + " | ".join(str(cell) for cell in cells) + " |\n"
    yield "\n"
    yield from _problems(runs[0])


def _last(runs: list[Json], area: str) -> str:
    for run in runs:
        results = [result for result in run["results"] if result["area"] == area]
        if results:
            counts = {kind: _count(results, kind) for kind in ("pass", "fail", "unknown")}
            outcome = f"{counts['pass']} passed, {counts['fail']} failed, {counts['unknown']} unknown"
            return f"{run['began'][:10]} | {outcome}"
    return "never | not run"


def _count(results: list[Json], outcome: str) -> int:
    return sum(result["outcome"] == outcome for result in results)


def _cleaned(run: Json) -> str:
    if run["clean_up"] is None:
        return "none needed"
    return "proven" if run["clean_up"]["proven"] else "incomplete"


def _problems(run: Json) -> Iterator[str]:
    """Yield what did not pass in the newest run."""
    problems = [result for result in run["results"] if result["outcome"] != "pass"]
    if not problems:
        return
    yield f"## What did not pass on {run['began'][:10]}\n\n"
    yield "| part | check or test | outcome | message |\n|---|---|---|---|\n"
    for result in problems:
        message = result["message"].replace("|", "\\|")
        yield f"| {result['area']} | {result['title']} | {result['outcome']} | {message} |\n"
    yield "\n"


def main(arguments: list[str]) -> int:
    """Write or compare the page; return 1 when it is out of date or results are not accepted."""
    parser = argparse.ArgumentParser(prog="python -m tests.cloud.page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    parser.add_argument("--add", type=Path, help="accept the results of a run")
    parsed = parser.parse_args(arguments)
    if parsed.add:
        try:
            sys.stdout.write(f"accepted as {accept(parsed.add).relative_to(ROOT)}\n")
        except (NotAccepted, OSError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
    page = render(load())
    if parsed.check:
        same = PAGE.exists() and PAGE.read_text() == page
        stale = "docs/cloud-runs.md is out of date; run `python -m tests.cloud.page`"
        sys.stdout.write("up to date\n" if same else f"{stale}\n")
        return int(not same)
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
