"""Applies the automations of this folder to the Prefect server: `python -m cli.deploy.automations_main apply [--dry-run]`.

`check` changes nothing, and fails when one can't be applied: its file is wrong, or the Slack block is not there.
"""

import argparse
import sys
from pathlib import Path

from prefect.client.orchestration import get_client

from cli.deploy.automations import apply
from cli.deploy.wanted_automations import DIRECTORY, wanted_automations
from millrace.domain.errors import MillraceError


def main() -> int:
    """Apply; prints a line for each automation."""
    parser = argparse.ArgumentParser(prog="python -m cli.deploy.automations_main", description=__doc__)
    parser.add_argument("command", choices=["apply", "check"])
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="folder of the YAML files")
    options = parser.parse_args()
    try:
        with get_client(sync_client=True) as client:
            wanted = wanted_automations(client, options.directory)
            done = apply(wanted, dry_run=options.dry_run or options.command == "check", client=client)
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if options.command == "check":
        print(f"{len(done)} automations can be applied, {sum(c != 'unchanged' for c in done.values())} would change")
        return 0
    for name, change in done.items():
        print(f"{'would be ' if options.dry_run and change != 'unchanged' else ''}{change}: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
