"""The platform's `prefect.yaml` and a project's own in; one file with the deployments of both out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from cli.deploy.dropped_deployments import MADE
from millrace.domain.errors import SettingsError
from millrace.project import PLATFORM, Project, current_project

FILE = PLATFORM / "prefect.yaml"
ADDED: dict[str, Any] = {
    "version": "{{ $MILLRACE_VERSION }}",
    "work_pool": {"name": "{{ $MILLRACE_WORK_POOL }}"},
    "enforce_parameter_schema": True,
}
Json = dict[str, Any]


def declared_text(project: Project) -> str:
    """Return the `prefect.yaml` that is deployed, its variables not filled in.

    A deployment of the project replaces the keys that it has of the platform's of that name, or is added. Each gets the
    tag by which a later deployment knows those that it may remove.

    Raises:
        SettingsError: the project's file is no mapping with a list of deployments, tags are no list, or an added one
            has no entrypoint.
    """
    whole: Json = yaml.safe_load(FILE.read_text())
    deployments = {deployment["name"]: deployment for deployment in whole["deployments"]}
    for own in _own(project.prefect_file):
        base = deployments.get(own["name"])
        if base is None and "entrypoint" not in own:
            raise SettingsError(
                f"{project.prefect_file}: deployment {own['name']!r} is none of the platform's"
                f" ({', '.join(deployments)}), and has no entrypoint, such as flows/ingest.py:ingest"
            )
        deployments[own["name"]] = (ADDED if base is None else base) | own
    tagged = [deployment | {"tags": [*deployment.get("tags", []), MADE]} for deployment in deployments.values()]
    return yaml.safe_dump(whole | {"deployments": tagged}, sort_keys=False, width=1000)


@contextmanager
def declared_file() -> Iterator[Path]:
    """Write that text of the current project to a file that is deleted at the end."""
    with TemporaryDirectory(prefix="millrace-") as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(declared_text(current_project()))
        yield file


def _own(file: Path) -> list[Json]:
    if not file.exists():
        return []
    try:
        content = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{file}: {error}") from None
    own = (content.get("deployments") or []) if isinstance(content, dict) else None
    if not isinstance(own, list) or not all(isinstance(item, dict) and "name" in item for item in own):
        raise SettingsError(f"{file}: expected `deployments:` with a list of deployments that each have a name")
    for item in own:
        if not isinstance(item.get("tags", []), list):
            raise SettingsError(f"{file}: deployment {item['name']!r}: tags is {item['tags']!r}; expected a list")
    return own
