"""Draws the dashboards into a folder, from the marts that the settings name: `python -m millrace.dashboards FOLDER`."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from millrace.dashboards.draw import draw
from millrace.domain.errors import MillraceError
from millrace.settings import load_settings
from millrace.warehouse.reader import reader_of


def main() -> int:
    """Draw; prints what each chart says."""
    parser = argparse.ArgumentParser(prog="python -m millrace.dashboards", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write index.html and what belongs to it")
    folder = parser.parse_args().folder
    try:
        given = load_settings().warehouse
        read = reader_of(given.url, given.marts_url, endpoint=given.endpoint, max_bytes_billed=given.max_bytes_billed)
        folder.mkdir(parents=True, exist_ok=True)
        for one in draw(read, folder, datetime.now(UTC)):
            print(f"{one.title}: {one.sentence or 'nothing to show yet'}")
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(folder / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
