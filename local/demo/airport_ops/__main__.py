"""The demo's source by hand: `python -m local.demo.airport_ops create|advance --database FILE`."""

import argparse
import os
from pathlib import Path

from local.demo.airport_ops.replay import advance, create


def main() -> None:
    """Make the database, or let time pass in it."""
    parser = argparse.ArgumentParser(prog="python -m local.demo.airport_ops", description=__doc__)
    parser.add_argument("command", choices=["create", "advance"])
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--to", type=int, default=1, help="day up to which time passes (1 is 2013-01-01)")
    parser.add_argument("--password-env", default="AIRPORT_OPS_PASSWORD", help="variable that holds the password")
    parsed = parser.parse_args()
    if parsed.command == "create":
        create(parsed.database, os.environ[parsed.password_env])
    else:
        print(f"{advance(parsed.database, parsed.to):,} changes")


if __name__ == "__main__":
    main()
