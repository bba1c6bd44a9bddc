"""Connections as code: `python -m cli.deploy.connections plan|apply [SOURCE ...]` compares Airbyte with `sources/*.yaml`.

`plan` shows what differs, `apply` mends it; neither prints a secret. What no file declares is deleted only with
`--delete`.
"""

import argparse
import sys

from millrace.domain.errors import MillraceError
from tasks.upkeep.agreement import agree


def main() -> int:
    """Plan or apply all sources, or those named."""
    parser = argparse.ArgumentParser(prog="python -m cli.deploy.connections", description=__doc__)
    parser.add_argument("command", choices=["plan", "apply"])
    parser.add_argument("source", nargs="*", help="names of files in sources/ (default: all)")
    parser.add_argument("--delete", action="store_true", help="delete connections into the lake that no file declares")
    parser.add_argument("--force", action="store_true", help="send what agrees too: Airbyte does not show secrets")
    given = parser.parse_args()
    try:
        done = agree(given.source, dry_run=given.command == "plan", delete=given.delete, force=given.force)
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for change in done.changes:
        print(change)
    print(done.summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
