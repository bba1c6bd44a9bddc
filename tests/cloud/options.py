"""The command line in, checked options out: `make cloud-smoke PROJECT=… ARGS=…` or `python -m tests.cloud --help`."""

import argparse
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from tests.cloud.budget import Limits
from tests.cloud.cleanup import LISTS_AGREE_S
from tests.cloud.names import is_run
from tests.cloud.suites import SUITES
from tests.cloud.target import Target, endpoints_of

PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
PLACE = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,30}")
FOLDER = Path(".millrace/cloud-smoke")
EPILOG = """exit codes: 0 all passed, 1 something failed, 2 something could not be checked or the options are wrong.
The kit deploys nothing. Checks only read. The suites create resources named millrace-smoke-<id>, and remove them."""


@dataclass(frozen=True)
class Options:
    """What to do, on which target, within which limits."""

    target: Target
    limits: Limits
    folder: Path
    suites: tuple[str, ...]
    domain: str = ""
    image: str = ""
    run: str = ""
    dry_run: bool = False
    clean_up: bool = False
    json: bool = False
    checks: bool = True
    wait_s: float = LISTS_AGREE_S


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="make cloud-smoke",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [suite.name for suite in SUITES]
    parser.add_argument("--project", default=os.environ.get("PROJECT", ""), help="id of the project")
    parser.add_argument("--location", default="EU", help="location of lake and warehouse (default EU)")
    parser.add_argument("--region", default="europe-west1", help="region of jobs (default europe-west1)")
    parser.add_argument("--domain", default="", help="domain of the gateway (default: that of terraform.tfvars)")
    parser.add_argument("--image", default="", help="image of Dataflow's workers; without one the job is left out")
    parser.add_argument("--dry-run", action="store_true", help="print each check and operation, and call nothing")
    parser.add_argument("--checks", action="store_true", help="only check, which changes nothing")
    parser.add_argument("--no-checks", action="store_true", help="only execute the suites, and clean up")
    parser.add_argument("--suites", default=",".join(names), help=f"some of {','.join(names)}")
    parser.add_argument("--clean-up", action="store_true", help="only remove what earlier runs left")
    parser.add_argument("--run", default="", help="with --clean-up: remove only what this run left")
    parser.add_argument("--wait-s", type=float, default=LISTS_AGREE_S, help="for lists that still show what is removed")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"folder of results (default {FOLDER})")
    limits = Limits()
    parser.add_argument("--max-cost", type=float, default=limits.cost, help="dollars (default %(default)s)")
    parser.add_argument("--max-calls", type=int, default=limits.calls, help="calls of APIs (default %(default)s)")
    parser.add_argument("--max-objects", type=int, default=limits.objects, help="objects written (default %(default)s)")
    parser.add_argument("--max-query-bytes", type=int, default=limits.query_bytes, help="bytes billed of a query")
    parser.add_argument(
        "--max-scanned-bytes", type=int, default=limits.scanned_bytes, help="bytes billed of all queries"
    )
    return parser


def options_of(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Return the options of a command line and of the variable ARGS; exit with 2 if they are wrong."""
    parser = build_parser()
    parsed = parser.parse_args([*arguments, *shlex.split(environment.get("ARGS", ""))])
    suites = tuple(name for name in parsed.suites.split(",") if name)
    suite_names = {suite.name for suite in SUITES}
    if not PROJECT.fullmatch(parsed.project):
        parser.error(f"{parsed.project!r} is not the id of a project; give it as PROJECT=…")
    for name in ("location", "region"):
        if not PLACE.fullmatch(getattr(parsed, name)):
            parser.error(f"--{name} {getattr(parsed, name)!r} is not the name of a {name}")
    if unknown := sorted(set(suites) - suite_names):
        parser.error(f"there is no suite {', '.join(unknown)}; there are {', '.join(sorted(suite_names))}")
    if parsed.run and not is_run(parsed.run):
        parser.error(f"{parsed.run!r} is not the id of a run; the results of a run have it")
    if parsed.checks and parsed.no_checks:
        parser.error("--checks and --no-checks exclude each other")
    own = {"cost": parsed.max_cost, "calls": parsed.max_calls, "objects": parsed.max_objects}
    own |= {"query_bytes": parsed.max_query_bytes, "scanned_bytes": parsed.max_scanned_bytes}
    assert set(own) == {field.name for field in fields(Limits)}
    return Options(
        target=Target(parsed.project, parsed.location, parsed.region, endpoints_of(environment)),
        limits=Limits(**own),
        folder=parsed.folder,
        suites=() if parsed.checks else suites,
        domain=parsed.domain,
        image=parsed.image,
        run=parsed.run,
        dry_run=parsed.dry_run,
        clean_up=parsed.clean_up,
        json=parsed.json,
        checks=not parsed.no_checks,
        wait_s=parsed.wait_s,
    )
