"""A project's files in; their digest, their version in git, and a copy that no later edit changes, out.

A stack on one machine runs from such a copy: `<state>/project` points to `<state>/projects/<digest>`, and a deployment
moves it. A run that began before keeps the copy that it began with.
"""

import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from millrace.project import MARKER, Project

PARTS = (MARKER, "prefect.yaml", "sources", "dbt_project", "expectations", "dashboards", "automations", "config")
SKIPPED = {"__pycache__", ".git", ".DS_Store", ".gitkeep", ".user.yml"}
WRITTEN = ("dbt_project/target/", "dbt_project/logs/")  # by dbt, when it is called by hand
VERSION = ".version"
KEPT = 10


def project_files(project: Project) -> Iterator[Path]:
    """Yield the files that a deployment consists of, in the order of their names."""
    for part in PARTS:
        path = project.folder / part
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        yield from (file for file in files if _is_part(file.relative_to(project.folder)))


def _is_part(file: Path) -> bool:
    return not SKIPPED & set(file.parts) and not file.as_posix().startswith(WRITTEN)


def digest(project: Project) -> str:
    """Return a digest of names and contents of the project's files."""
    total = hashlib.sha256()
    for file in project_files(project):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{file.relative_to(project.folder).as_posix()}\0{content}\n".encode())
    return total.hexdigest()[:16]


def version(project: Project) -> str:
    """Return the commit of the project, with the files' digest when they differ from it; without git the digest."""
    recorded = project.folder / VERSION
    if recorded.is_file():
        return recorded.read_text().strip()
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        described = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return digest(project)
    commit = described.stdout.strip()
    return f"{commit}.{digest(project)[:8]}" if commit.endswith("-dirty") else commit


def take_snapshot(project: Project, state: Path) -> Project:
    """Return the copy of the project in the state folder; a copy of the same files is used again."""
    folder = state / "projects" / digest(project)
    if not folder.is_dir():
        copy = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        for file in project_files(project):
            target = copy / file.relative_to(project.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        copy.mkdir(parents=True, exist_ok=True)
        (copy / VERSION).write_text(version(project))
        try:
            copy.rename(folder)
        except OSError:  # another process made the same copy
            shutil.rmtree(copy)
    os.utime(folder)
    return Project(folder)


def deployed_project(state: Path) -> Path:
    """Return the path that points to the copy that the stack runs from."""
    return state / "project"


def deploy_snapshot(snapshot: Project, state: Path) -> None:
    """Make the stack's next runs use this copy, and delete the oldest others."""
    link = deployed_project(state)
    new = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    new.symlink_to(snapshot.folder.relative_to(state))
    new.replace(link)
    copies = sorted((state / "projects").iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for old in copies[KEPT:]:
        if old != snapshot.folder:
            shutil.rmtree(old, ignore_errors=True)
