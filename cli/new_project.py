"""A folder in; the files of a new project in it, from the template, out."""

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from string import Template

from millrace.contracts.generated import write
from millrace.domain.errors import SettingsError
from millrace.project import CHECKOUT

TEMPLATE = Path(__file__).with_name("template")
HIDDEN = ("gitignore", "gitkeep", "dockerignore", "github")  # names without their dot, which packages would leave out
MOST_NAMED = 5


def create_project(folder: Path, name: str = "", *, force: bool = False) -> list[Path]:
    """Write the files of a new project; return those that were written.

    Args:
        folder: empty, or not there yet; a folder `.git` may be in it.
        name: of the project; '' for that of the folder.
        force: write also into a folder with files; those that exist stay as they are.

    Raises:
        SettingsError: the folder has files, or is the platform's checkout.
    """
    if folder == CHECKOUT:
        raise SettingsError(
            f"{folder} is the checkout of the platform, which is a project already; name another folder"
        )
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is a file; name a folder")
    if not force and (entries := _entries(folder)):
        rest = f" and {len(entries) - MOST_NAMED} more" if len(entries) > MOST_NAMED else ""
        raise SettingsError(
            f"{folder} is not empty: it has {', '.join(entries[:MOST_NAMED])}{rest}; name an empty folder, or add only"
            " the files that are missing with --force"
        )
    values = _values(name or folder.name)
    written = [path for path, text in _files(folder, values) if _write_new(path, text)]
    return written + [path for path in write(folder) if path not in written]


def _entries(folder: Path) -> list[str]:
    if not folder.exists():
        return []
    return sorted(
        f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir() if entry.name != ".git"
    )


def _values(name: str) -> dict[str, str]:
    words = re.findall(r"[a-z0-9]+", name.lower())
    if not words:
        raise SettingsError(f"{name!r} has no letter or digit for the name of a project; give one with --name")
    identifier = "_".join(words)
    return {
        "name": "-".join(words),
        "identifier": identifier if identifier[0].isalpha() else f"p_{identifier}",
        "version": version("millrace"),
    }


def _files(folder: Path, values: dict[str, str]) -> Iterator[tuple[Path, str]]:
    for file in sorted(TEMPLATE.rglob("*")):
        if file.is_file():
            parts = [f".{part}" if part in HIDDEN else part for part in file.relative_to(TEMPLATE).parts]
            yield folder.joinpath(*parts), Template(file.read_text()).safe_substitute(values)


def _write_new(path: Path, text: str) -> bool:
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return True
