"""Maps a connector's image to the command that runs it on this machine."""

import json
from dataclasses import dataclass
from pathlib import Path

from local.demo import source
from local.servers.airbyte.environment import COMMANDS, installed


@dataclass(frozen=True)
class Command:
    """A connector's command; without `network` it runs with no network, where Linux allows that."""

    words: tuple[str, ...]
    network: bool = True


Connectors = dict[str, Command]


def load_connectors(file: Path | None) -> Connectors:
    """Return the demo's connector, and those of a JSON file that maps an image to its command.

    Raises:
        SystemExit: the file is not such a mapping.
    """
    demo = Command(source.connector_command(), network=False)  # it reads a file
    commands: Connectors = {source.CONNECTOR_IMAGE: demo}
    if file is None:
        return commands
    try:
        mapping = json.loads(file.read_text())
        return commands | {image: _command(command) for image, command in mapping.items()}
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise SystemExit(f'{file} is not a mapping like {{"image": ["command", "argument"]}}: {error!r}') from None


def find_command(connectors: Connectors, image: str) -> Command | None:
    """Return the command of an image, None for an unknown one; install it from the package index if necessary.

    Raises:
        NotInstalled: the installation failed.
    """
    return connectors.get(image) or (Command(installed(image)) if image in COMMANDS else None)


def _command(value: object) -> Command:
    if isinstance(value, dict):
        return Command(_command(value["command"]).words, bool(value.get("network", True)))
    if not isinstance(value, list) or not value or not all(isinstance(part, str) for part in value):
        raise ValueError(f"{value!r} is not a command; expected a list of strings")
    return Command(tuple(value))
