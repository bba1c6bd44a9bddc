"""A dbt project and its environment in; a digest of all that dbt's parser reads out."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

PACKAGES = ("dbt-core", "dbt-common", "dbt-adapters", "dbt-duckdb", "dbt-bigquery")
ENV_VAR = re.compile(rb"""env_var\s*\((?:\s*[\\'"]+(\w+)[\\'"]+\s*[,)])?""")  # YAML doubles or escapes quotes
WRITTEN = ("target", "logs", ".git")  # by dbt when it is called by hand, and by git
OUTPUTS = ("DBT_TARGET_PATH", "DBT_LOG_PATH")


def manifest_key(project: Path, environment: Mapping[str, str]) -> str:
    """Return the digest of a project's files, its packages, the variables that they name, and dbt's version.

    `environment` is the whole environment of dbt. A file that names a variable by an expression makes all of it count.
    """
    digest, names = hashlib.sha256(), set[str]()
    for package in PACKAGES:
        _add(digest, package, _version(package))
    for path in _files(project):
        content = path.read_bytes()
        _add(digest, str(path.absolute()), hashlib.sha256(content).hexdigest())
        names |= {name.decode() for name in ENV_VAR.findall(content)}
    for name in sorted(environment):
        counts = "" in names or name in names or name.startswith("DBT_")
        if counts and name not in OUTPUTS:
            _add(digest, name, environment[name])
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", name: str, value: str) -> None:
    digest.update(f"{len(name)} {name} {len(value)} {value}\n".encode())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _files(project: Path) -> Iterator[Path]:
    """Yield the files of the project and of the folders outside that it names; packages may be links."""
    for root in (project, *_folders_outside(project)):
        for folder, folders, files in os.walk(root, followlinks=True):
            folders[:] = sorted(name for name in folders if not (name in WRITTEN and Path(folder) == root))
            yield from (Path(folder) / name for name in sorted(files))


def _folders_outside(project: Path) -> list[Path]:
    """Return the folders outside the project that its `model-paths`, `macro-paths`, … name."""
    try:
        settings = yaml.safe_load((project / "dbt_project.yml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []  # dbt refuses the project, and says why
    named = [settings[key] for key in settings if key.endswith("-paths") or key == "packages-install-path"]
    paths = [project / path for value in named for path in ([value] if isinstance(value, str) else value or [])]
    return [path for path in paths if not path.resolve().is_relative_to(project.resolve())]
