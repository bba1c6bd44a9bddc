"""Docker images in, the commands that stand for them here out."""

import json
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

from local.airbyte.store import Body

NAMESPACE = uuid.UUID("6a1f2f0c-7d0b-4a39-9a55-0b1f3f6f7c11")
BUILT_IN = {"millrace/source-airport-ops": [sys.executable, "-m", "local.airport_ops.connector"]}
DESTINATION_IMAGE = "airbyte/destination-gcs"


@dataclass(frozen=True)
class Connector:
    """An image with a name, and the command that speaks for it."""

    image: str
    command: tuple[str, ...]

    @property
    def definition_id(self) -> str:
        """The id that the API knows it by."""
        return definition_id(self.image)

    def definition(self, tag: str = "local") -> Body:
        """The definition as the API tells it."""
        return {"id": self.definition_id, "name": self.image, "dockerRepository": self.image, "dockerImageTag": tag}


def definition_id(image: str) -> str:
    """An image's id, the same on every machine."""
    return str(uuid.uuid5(NAMESPACE, image))


def load_connectors(file: Path | None) -> dict[str, Connector]:
    """The built-in connectors and those of a JSON file `{image: [command, …]}`, by definition id.

    Raises:
        SystemExit: the file is not that.
    """
    commands = dict(BUILT_IN)
    if file is not None:
        try:
            more = json.loads(file.read_text())
            commands |= {str(image): [str(part) for part in command] for image, command in more.items()}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise SystemExit(f"--connectors {file} must hold JSON {{image: [command, …]}}: {error}") from None
    made = [Connector(image, tuple(command)) for image, command in commands.items()]
    return {connector.definition_id: connector for connector in made}
