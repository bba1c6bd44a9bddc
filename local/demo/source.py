"""The demo's part of a local stack: the database of its source, the password of it, and the connector that reads it."""

import sys
from collections.abc import Mapping
from pathlib import Path

from local.demo.airport_ops.replay import create
from millrace.project import Project, current_project

NAME = "airport_ops"
CONNECTOR_IMAGE = "millrace/source-airport-ops"
PASSWORD_SECRET = "airport-ops-password"


def is_used(project: Project) -> bool:
    """Return True when the project has the demo's source: other projects get nothing of the demo."""
    contract = project.sources / f"{NAME}.yaml"
    return contract.is_file() and CONNECTOR_IMAGE in contract.read_text()


def database_file(state: Path) -> Path:
    """Return the path of the source's database in a stack's state directory."""
    return state / "airport_ops.sqlite"


def environment(state: Path) -> dict[str, str]:
    """Return the variables by which the connector finds the database; none for other projects."""
    return {} if not is_used(current_project()) else {"AIRPORT_OPS_DATABASE": str(database_file(state))}


def connector_command() -> tuple[str, ...]:
    """Return the command that the connector's image stands for on this machine."""
    return (sys.executable, "-m", "local.demo.airport_ops.connector")


def provision(state: Path, credentials: Mapping[str, str]) -> None:
    """Create the source's database for the demo's project, if the state directory has none."""
    if is_used(current_project()) and not database_file(state).exists():
        create(database_file(state), credentials[PASSWORD_SECRET])
