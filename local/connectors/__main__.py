"""Runs a connector of this machine for the command line: `python -m local.connectors run IMAGE VERB`, or `lock IMAGE`.

`run` takes {"config": …, "catalog": …, "state": …} from standard input, so that no secret is in a command line or a
file of the caller's, and writes the connector's messages; `lock` pins the packages of a configured connector.
"""

import json
import sys
from typing import Any

from local.servers.airbyte.connectors import Connectors, UnknownConnector
from local.servers.airbyte.environment import NotInstalled, write_lock
from local.servers.airbyte.process import Cancel, connector
from local.stack.services import connector_files
from millrace.airbyte.known import unknown_image


def run(image: str, verb: str, inputs: dict[str, Any]) -> int:
    """Run a connector; its messages go to standard output, all else to standard error."""
    command = Connectors(connector_files()).find(image)

    def log(line: str) -> None:
        print(line, file=sys.stderr)

    with connector(command, verb, inputs, log, Cancel(), arrow=False) as running:
        for message in running.messages():
            print(json.dumps(message), flush=True)
        return running.exit_code()


def lock(image: str) -> int:
    """Pin the packages of a configured connector, and print the file."""
    connectors = Connectors(connector_files())
    settings = connectors.configured().get(image)
    if settings is None or not settings.package:
        raise UnknownConnector(unknown_image(image, connectors.configured()))
    file = connectors.lock_file(image, settings)
    write_lock(settings.package, file)
    print(file)
    return 0


def main(arguments: list[str]) -> int:
    """Carry out one command; a failure is one line on standard error."""
    try:
        if arguments[:1] == ["lock"] and len(arguments) == 2:
            return lock(arguments[1])
        if arguments[:1] == ["run"] and len(arguments) == 3:
            return run(arguments[1], arguments[2], json.load(sys.stdin))
    except (UnknownConnector, NotInstalled, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
