"""The demo's part of a local stack: the database of its source, the password of it, and the connector that reads it."""

import sys
from collections.abc import Mapping
from pathlib import Path

from local.demo.airport_ops.replay import create

CONNECTOR_IMAGE = "millrace/source-airport-ops"
PASSWORD_SECRET = "airport-ops-password"


def database_file(state: Path) -> Path:
    """Return the path of the source's database in a stack's state directory."""
    return state / "airport_ops.sqlite"


def environment(state: Path) -> dict[str, str]:
    """Return the variables by which the connector finds the database."""
    return {"AIRPORT_OPS_DATABASE": str(database_file(state))}


def connector_command() -> tuple[str, ...]:
    """Return the command that the connector's image stands for on this machine."""
    return (sys.executable, "-m", "local.demo.airport_ops.connector")


def provision(state: Path, credentials: Mapping[str, str]) -> None:
    """Create the source's database if the state directory has none."""
    if not database_file(state).exists():
        create(database_file(state), credentials[PASSWORD_SECRET])
