"""Applies the automations of this folder to the Prefect server: `python -m automations apply [--dry-run]`.

`check` changes nothing, and fails when one can't be applied: its file is wrong, or the Slack block is not there.
"""

import argparse
import os
import sys
from pathlib import Path

from prefect.client.orchestration import get_client

from automations.apply import apply, load, load_streams, slack_document
from blocks.names import SLACK
from contracts.errors import MillraceError
from contracts.source import load_sources
from settings import load_settings
from settings.tree import ROOT


def main() -> int:
    """Apply; prints a line for each automation."""
    parser = argparse.ArgumentParser(prog="python -m automations", description=__doc__)
    parser.add_argument("command", choices=["apply", "check"])
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    parser.add_argument("--directory", type=Path, default=Path(__file__).parent, help="folder of the YAML files")
    options = parser.parse_args()
    ui = os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL", "").removesuffix("/api")
    try:
        settings, sources = load_settings().slack, load_sources(ROOT / "sources")
        with get_client(sync_client=True) as client:
            values = {"slack": slack_document(client, SLACK), "ui": ui, "runbook": settings.runbook,
                      "published_every_s": str(settings.published_every_s)}  # fmt: skip
            streams = [stream for source in sources.values() for stream in source.streams.values()]
            wanted = load(options.directory, values) + load_streams(options.directory / "streams", values, streams)
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
