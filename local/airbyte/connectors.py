"""Which command runs a connector's image here."""

import json
import sys
from pathlib import Path

Connectors = dict[str, tuple[str, ...]]


def load_connectors(file: Path | None) -> Connectors:
    """The demo's connector, and those of a JSON file that maps an image to its command.

    Raises:
        SystemExit: the file is no such mapping.
    """
    commands: Connectors = {"millrace/source-airport-ops": (sys.executable, "-m", "local.airport_ops.connector")}
    if file is None:
        return commands
    try:
        given = json.loads(file.read_text())
        return commands | {image: _command(command) for image, command in given.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise SystemExit(f'{file} is no mapping like {{"image": ["command", "argument"]}}: {error}') from None


def _command(command: object) -> tuple[str, ...]:
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        raise ValueError(f"{command!r} is no command")
    return tuple(command)
