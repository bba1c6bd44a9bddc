"""Which platform a command speaks to: the stack on this machine, or the one that settings name."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from cli import codes
from cli.errors import StackDown
from millrace.domain.errors import SettingsError

if TYPE_CHECKING:
    from millrace.settings import Settings


@dataclass(frozen=True)
class Where:
    """Where commands go: `state` is the stack of this machine, None for a platform that `place` names."""

    root: Path
    state: Path | None
    place: str | None = None
    inherited: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def command(self) -> str:
        """How a person calls `millrace` for that place."""
        if self.state is None:
            return f"millrace --place {self.place}"
        return "millrace" if self.state == self.root / ".millrace" else f"millrace --state {self.state}"

    def environment(self) -> dict[str, str]:
        """Variables with which the platform's own code speaks to that place.

        Raises:
            StackDown: the stack of this machine is down.
            SettingsError: settings name another place, and no Prefect server of it.
        """
        if self.state is not None:  # as for the stack itself, settings of the shell do not count
            others = {k: v for k, v in self.inherited.items() if not k.startswith(("MILLRACE_", "PREFECT_"))}
            return others | self._addresses(self.state)
        if not self.inherited.get("PREFECT_API_URL"):
            raise SettingsError(
                f"the settings are those of {self.place!r}, but PREFECT_API_URL is not set; export the address of its"
                " Prefect server, or leave --place out for the stack on this machine"
            )
        return dict(self.inherited) | {"MILLRACE_CONFIG": str(self.place)}

    def enter(self) -> None:
        """Make this process speak to that place; raises as `environment` does."""
        found = self.environment()
        os.environ.clear()
        os.environ.update({"DO_NOT_TRACK": "1"} | found)  # else Prefect's client tells of its telemetry in our output

    def local(self, *arguments: str) -> NoReturn:
        """Become `python -m local …`, so that signals and exit code are its own.

        Raises:
            SettingsError: settings name another place.
        """
        command = self._local(*arguments)
        os.chdir(self.root)
        sys.stdout.flush()
        os.execv(command[0], command)  # noqa: S606  our own module

    def ask_local(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `python -m local …` and keep what it says."""
        return subprocess.run(  # noqa: S603  our own module
            self._local(*arguments), cwd=self.root, capture_output=True, text=True, check=False
        )

    def run(self, *module: str) -> int:
        """Run one of the platform's own modules there, its output shown; returns the exit code."""
        command = [sys.executable, "-m", *module]
        return subprocess.run(command, cwd=self.root, env=self.environment(), check=False).returncode  # noqa: S603

    def _local(self, *arguments: str) -> list[str]:
        if self.state is None:
            raise SettingsError(
                f"the stack is one of this machine, and the settings are those of {self.place!r}; leave --place and"
                " MILLRACE_CONFIG out"
            )
        if not (self.root / "local").is_dir():
            raise SettingsError(f"{self.root} has no folder `local`; the stack of one machine runs in a checkout")
        return [sys.executable, "-m", "local", "--state", str(self.state), *arguments]

    def _addresses(self, state: Path) -> dict[str, str]:
        said = self.ask_local("env")
        if said.returncode == codes.DOWN:
            raise StackDown(f"the stack is down (state in {state}); start it with `millrace up`")
        if said.returncode:
            why = said.stderr.strip() or said.stdout.strip()
            raise SettingsError(f"the stack in {state} does not tell its addresses: {why}")
        pairs = (shlex.split(line)[1].partition("=") for line in said.stdout.splitlines() if line)
        return {name: value for name, _, value in pairs}


def settings_of(place: str = "", state: Path | None = None) -> "Settings":
    """The settings of a place, for a notebook: a name in config/, or a .toml file; else what the environment names.

    Without either it is the stack on this machine, whose state is in `state` (.millrace).

    Raises:
        StackDown: the stack of this machine is down.
    """
    from millrace.settings import load_settings
    from millrace.settings.tree import ROOT

    if place:
        os.environ["MILLRACE_CONFIG"] = place
    elif "MILLRACE_CONFIG" not in os.environ:
        Where(ROOT, state or ROOT / ".millrace", inherited=dict(os.environ)).enter()
    return load_settings()


def here(context: typer.Context) -> Where:
    """Where a command goes, by the options that all commands have."""
    where: Where = context.obj
    return where


def entered(context: typer.Context) -> Where:
    """The same, with this process speaking to that place; raises as `Where.environment` does."""
    where = here(context)
    where.enter()
    return where
