"""Which command runs a connector's image here."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from local.servers.airbyte.environment import COMMANDS, installed


@dataclass(frozen=True)
class Command:
    """A connector's command; `network` is whether it gets the machine's, else it has none where Linux lets us."""

    words: tuple[str, ...]
    network: bool = True


Connectors = dict[str, Command]


def load_connectors(file: Path | None) -> Connectors:
    """The demo's connector, and those of a JSON file that maps an image to its command.

    Raises:
        SystemExit: the file is no such mapping.
    """
    demo = Command((sys.executable, "-m", "local.demo.airport_ops.connector"), network=False)  # it reads a file
    commands: Connectors = {"millrace/source-airport-ops": demo}
    if file is None:
        return commands
    try:
        given = json.loads(file.read_text())
        return commands | {image: _command(command) for image, command in given.items()}
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise SystemExit(f'{file} is no mapping like {{"image": ["command", "argument"]}}: {error!r}') from None


def find_command(connectors: Connectors, image: str) -> Command | None:
    """How an image is run; those of the package index are installed now if need be. None when it is not known.

    Raises:
        NotInstalled: it can't be installed.
    """
    return connectors.get(image) or (Command(installed(image)) if image in COMMANDS else None)


def _command(given: object) -> Command:
    if isinstance(given, dict):
        return Command(_command(given["command"]).words, bool(given.get("network", True)))
    if not isinstance(given, list) or not given or not all(isinstance(part, str) for part in given):
        raise ValueError(f"{given!r} is no command")
    return Command(tuple(given))
