"""A project and the installed platform in; what an upgrade needs, and the project brought up to the version, out."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from packaging.version import InvalidVersion, Version

from cli.new_project import create_project
from millrace.contracts.generated import stale
from millrace.domain.errors import SettingsError
from millrace.project import Project

NEEDS: tuple[tuple[str, str], ...] = ()
"""For each version that asks for a change of projects: the version, and a sentence that says what to change."""
VERSION_LINE = re.compile(r'^(version\s*=\s*")[^"]*(")', re.MULTILINE)


def installed() -> Version:
    """Return the version of the platform."""
    return Version(version("millrace"))


def written_for(project: Project) -> Version:
    """Return the version of the platform that the project was last checked with.

    Raises:
        SettingsError: `millrace.toml` has none.
    """
    try:
        return Version(tomllib.loads(project.marker.read_text())["platform"]["version"])
    except (tomllib.TOMLDecodeError, KeyError, TypeError, InvalidVersion) as error:
        raise SettingsError(
            f"{project.marker} has no valid `version` in its table `platform` ({error!r}); write a line [platform] and"
            f' a line version = "{installed()}"'
        ) from None


def needs(project: Project) -> Iterator[str]:
    """Yield a sentence for each change that versions after the project's ask for."""
    before, now = written_for(project), installed()
    yield from (f"{of}: {sentence}" for of, sentence in NEEDS if before < Version(of) <= now)


def upgrade(project: Project) -> list[Path]:
    """Write generated files that are stale, add missing files of the template, set the version; return what changed.

    Raises:
        SettingsError: the project is written for a newer platform.
    """
    before, now = written_for(project), installed()
    if before > now:
        raise SettingsError(
            f"{project.marker} names version {before}, and {now} is installed; install millrace {before} or newer"
        )
    changed = {*stale(project.folder), *create_project(project.folder, force=True)}
    if before != now:
        text = project.marker.read_text()
        table = text.index("[platform]")
        project.marker.write_text(text[:table] + VERSION_LINE.sub(rf"\g<1>{now}\g<2>", text[table:], count=1))
        changed.add(project.marker)
    return sorted(changed)
