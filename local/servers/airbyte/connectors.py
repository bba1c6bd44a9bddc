"""Maps a connector's image to the command that runs it on this machine."""

import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from local.demo import source
from local.servers.airbyte.environment import COMMANDS, NotInstalled, environments, install, installed
from millrace.airbyte.known import unknown_image
from millrace.project import current_project
from millrace.settings.tree import ConnectorSettings

MODULES = {
    "airbyte/source-postgres": "local.connectors.postgres",
    "airbyte/source-mysql": "local.connectors.mysql",
    "millrace/source-files": "local.connectors.files",
}
SINGER = "local.connectors.singer"


class UnknownConnector(Exception):
    """No command is known for an image; the message says how to add one."""


@dataclass(frozen=True)
class Command:
    """A connector's command; without `network` it runs with no network, where Linux allows that."""

    words: tuple[str, ...]
    network: bool = True


@dataclass(frozen=True)
class Connectors:
    """The connectors of this machine: those of the platform, and those of `files`, which are read at each use.

    A file is TOML with a table `airbyte.connectors`, as settings have, or JSON: {"image": ["command", …]}.
    """

    files: Sequence[Path] = ()
    project: Path = field(default_factory=lambda: current_project().folder)

    def check(self) -> None:
        """Read the files once.

        Raises:
            SystemExit: a file has no such mapping.
        """
        try:
            self.configured()
        except (OSError, ValueError, AttributeError, ValidationError) as error:
            raise SystemExit(f"connectors: {error}") from None

    def configured(self) -> dict[str, ConnectorSettings]:
        """Return the mapping of all files; the last one wins."""
        mapping: dict[str, ConnectorSettings] = {}
        for file in self.files:
            mapping |= {image: _settings(image, value) for image, value in _read(file).items()}
        return mapping

    def find(self, image: str) -> Command:
        """Return the command of an image; install it from the package index if necessary.

        Raises:
            UnknownConnector: nothing is known of it.
            NotInstalled: the installation failed.
        """
        configured = self.configured()
        if image in configured:
            return self._command(image, configured[image])
        if image == source.CONNECTOR_IMAGE:
            return Command(source.connector_command(), network=False)  # it reads a file
        if image in MODULES:
            return Command((sys.executable, "-m", MODULES[image]))
        if image in COMMANDS:
            return Command(installed(image))
        raise UnknownConnector(unknown_image(image, configured))

    def lock_file(self, image: str, settings: ConnectorSettings) -> Path:
        """Return the file of a package's requirements with hashes."""
        return self.project / (settings.lock or f"config/connectors/{image.replace('/', '-')}.txt")

    def _command(self, image: str, settings: ConnectorSettings) -> Command:
        words = settings.command
        if settings.package:
            lock = self.lock_file(image, settings)
            if not lock.exists():
                raise NotInstalled(f"{lock} is missing, the pinned requirements: run `millrace source lock {image}`")
            name = f"{environments().name}-{image.replace('/', '-')}"
            words = install(lock, settings.program, environments().with_name(name))
        if settings.protocol == "singer":
            words = (sys.executable, "-m", SINGER, *words, "--")
        return Command(words, settings.network)


def _read(file: Path) -> dict[str, Any]:
    if file.suffix == ".toml":
        if not file.exists():  # a project need not have it, and may get it while the server runs
            return {}
        return dict(tomllib.loads(file.read_text()).get("airbyte", {}).get("connectors", {}))
    mapping = json.loads(file.read_text())
    if not isinstance(mapping, dict):
        raise ValueError(f'{file} is not a mapping like {{"image": ["command", "argument"]}}')
    return mapping


def _settings(image: str, value: object) -> ConnectorSettings:
    """Return the settings of one connector; a list is its command."""
    try:
        return ConnectorSettings.model_validate({"command": value} if isinstance(value, list) else value)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors())
        raise ValueError(f'airbyte.connectors."{image}": {wrong}') from None
