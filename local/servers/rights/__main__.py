"""Write docs/rights.md, or the file that local servers enforce: `python -m local.servers.rights [--project P FILE]`."""

import argparse
from pathlib import Path

from local.servers.rights.bindings import write_rights
from local.servers.rights.page import PAGE, page


def main() -> None:
    """Write one of both files."""
    parser = argparse.ArgumentParser(prog="python -m local.servers.rights", description=__doc__)
    parser.add_argument("--project", help="id of the project whose rights are written")
    parser.add_argument("file", nargs="?", type=Path, help="file for `--rights` of the local servers")
    options = parser.parse_args()
    if options.file:
        write_rights(options.file, options.project or parser.error("--project is required for a file"))
    else:
        PAGE.write_text(page())


if __name__ == "__main__":
    main()
