"""Make and advance the demo's source: `python -m local.airport_ops create|advance --database FILE`."""

import argparse
import os
import sys
from pathlib import Path

from local.airport_ops.replay import NoDatabase, advance, create, day


def main() -> int:
    """Do one command; says the day that the database then stands at."""
    parser = argparse.ArgumentParser(prog="python -m local.airport_ops", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    creating = commands.add_parser("create", help="make an empty database; nothing happens when it is there")
    creating.add_argument("--password-env", required=True, help="environment variable that holds the user's password")
    advancing = commands.add_parser("advance", help="replay up to and including a day; day 1 is 1 January 2013")
    advancing.add_argument("--to", type=int, required=True, metavar="DAY")
    for command in (creating, advancing):
        command.add_argument("--database", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        if arguments.command == "create":
            password = os.environ.get(arguments.password_env)
            if not password:
                parser.error(f"the environment variable {arguments.password_env} is empty; put the password there")
            create(arguments.database, password)
        else:
            made = advance(arguments.database, arguments.to)
            print(f"{made} changes")
        print(f"day {day(arguments.database)}")
    except (NoDatabase, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
