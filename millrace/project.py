"""Where files are: those of the user's project, and those of the platform itself.

A project is a folder of one's own with the marker file `millrace.toml`. The checkout of the platform is a project too,
without a marker: what it has in `sources/`, `dbt_project/`, … is its own demo.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from millrace.domain.errors import SettingsError

MARKER = "millrace.toml"
VARIABLE = "MILLRACE_PROJECT"
CODE = Path(__file__).resolve().parents[1]  # the folder of all import roots: a checkout, or site-packages
_PACKAGED = Path(__file__).with_name("platform_files")  # which only a wheel has
PLATFORM = _PACKAGED if _PACKAGED.is_dir() else CODE
CHECKOUT = CODE if (CODE / "pyproject.toml").is_file() else None


@dataclass(frozen=True)
class Project:
    """The folder of a project; a property for each part of it, which a project need not have."""

    folder: Path

    @property
    def marker(self) -> Path:
        """The file with the project's name and the version of the platform that it is written for."""
        return self.folder / MARKER

    @property
    def sources(self) -> Path:
        """Folder of the source contracts, one file per source."""
        return self.folder / "sources"

    @property
    def manifests(self) -> Path:
        """Folder of the declarative manifests that contracts name."""
        return self.sources / "manifests"

    @property
    def released(self) -> Path:
        """Folder of the contracts as they were released last."""
        return self.sources / ".released"

    @property
    def dbt_project(self) -> Path:
        """Folder of dbt's project and profile."""
        return self.folder / "dbt_project"

    @property
    def expectations(self) -> Path:
        """Folder of the suites of marts."""
        return self.folder / "expectations"

    @property
    def raw_expectations(self) -> Path:
        """Folder of the suites of merged rows, which are generated from the contracts."""
        return self.expectations / "raw"

    @property
    def dashboards(self) -> Path:
        """Folder of the dashboards."""
        return self.folder / "dashboards"

    @property
    def automations(self) -> Path:
        """Folder of the project's own automations, beside those of the platform."""
        return self.folder / "automations"

    @property
    def config(self) -> Path:
        """Folder of the settings that differ from the platform's, a file per environment."""
        return self.folder / "config"

    @property
    def prefect_file(self) -> Path:
        """The `prefect.yaml` with the project's schedules and further deployments."""
        return self.folder / "prefect.yaml"

    @property
    def docs(self) -> Path:
        """Folder of the generated pages about sources."""
        return self.folder / "docs" / "sources"

    @property
    def state(self) -> Path:
        """Folder of the stack on this machine, unless another is named."""
        return self.folder / ".millrace"

    @property
    def is_checkout(self) -> bool:
        """Whether this is the platform's own checkout."""
        return self.folder == CHECKOUT


def current_project() -> Project:
    """Return the project that this process works on.

    It is the folder that MILLRACE_PROJECT names; else the current folder or the nearest one above with a
    `millrace.toml`; else the checkout that the platform runs from.

    Raises:
        SettingsError: there is none.
    """
    if folder := os.environ.get(VARIABLE):
        if not Path(folder).is_dir():
            raise SettingsError(f"{VARIABLE} names {folder}, which is not a folder; set it to the folder of a project")
        return Project(Path(folder).absolute())
    here = Path.cwd()
    for above in (here, *here.parents):
        if (above / MARKER).is_file():
            return Project(above)
    if CHECKOUT is None:
        raise SettingsError(
            f"no {MARKER} in {here} or a folder above; make a project with `millrace init DIR`, or name one with"
            f" `millrace --project DIR` or {VARIABLE}"
        )
    return Project(CHECKOUT)
