"""The command line of a connector: `spec`, `check --config`, `discover --config`, `read --config --catalog --state`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from local.connectors.protocol import ConnectorError, Json, Output, Stream, configured_streams


class Source(Protocol):
    """What a connector brings: everything but the protocol."""

    @property
    def specification(self) -> Json:
        """Return `properties` and `required` of the configuration's JSON schema."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """Return the errors of its client, which become messages of one line."""

    def check(self, config: Json) -> None:
        """Connect; raise ConnectorError with what is wrong."""

    def discover(self, config: Json) -> list[Json]:
        """Return the streams of the catalog."""

    def read(self, config: Json, streams: Sequence[Stream], states: list[Json], output: Output) -> None:
        """Write the rows and states of streams."""


def run(source: Source, arguments: Sequence[str] | None = None) -> int:
    """Answer one command; return the exit code."""
    parsed, output = _parse(arguments), Output()
    known: tuple[type[Exception], ...] = (ConnectorError, *source.errors)
    if parsed.command == "spec":
        output.emit("SPEC", spec=specification(source.specification))
        return 0
    try:
        config = _read(parsed.config)
        check_required(source.specification, config)
        if parsed.command == "check":
            source.check(config)
            output.emit("CONNECTION_STATUS", connectionStatus={"status": "SUCCEEDED"})
        elif parsed.command == "discover":
            output.emit("CATALOG", catalog={"streams": source.discover(config)})
        else:
            streams = configured_streams(_read(parsed.catalog))
            source.read(config, streams, _read(parsed.state) if parsed.state else [], output)
    except known as error:
        message = " ".join(str(error).split())
        if parsed.command != "check":
            output.failure(message, getattr(error, "kind", "system_error"))
            return 1
        output.emit("CONNECTION_STATUS", connectionStatus={"status": "FAILED", "message": message})
    return 0


def specification(properties: Json) -> Json:
    """Return the SPEC message's body of a JSON schema's `required` and `properties`."""
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"} | properties
    return {"connectionSpecification": schema, "supported_destination_sync_modes": []}


def check_required(specification: Json, config: Json) -> None:
    """Raise ConnectorError when the configuration lacks a required option."""
    if missing := [name for name in specification.get("required", []) if config.get(name) in (None, "")]:
        raise ConnectorError(f"the configuration lacks {', '.join(missing)}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["spec", "check", "discover", "read"])
    for option in ("--config", "--catalog", "--state"):
        parser.add_argument(option, type=Path)
    parsed = parser.parse_args(arguments)
    needed = {"spec": (), "read": ("config", "catalog")}.get(parsed.command, ("config",))
    if missing := [f"--{name}" for name in needed if getattr(parsed, name) is None]:
        parser.error(f"{parsed.command} needs {' and '.join(missing)}")
    return parsed


def _read(path: Path) -> Any:
    return json.loads(path.read_text() or "null")
