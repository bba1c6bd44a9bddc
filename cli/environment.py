"""The platform that a command works on: the stack on this machine, or an environment that settings name."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from cli import codes, show
from cli.errors import StackDown
from millrace.domain.errors import SettingsError
from millrace.domain.remedies import PROGRAM
from millrace.project import CODE, VARIABLE, current_project

if TYPE_CHECKING:
    from millrace.settings import Settings


def program() -> str:
    """Return the program of this command line as it was typed, unless the shell knows it by its name."""
    typed = sys.argv[0]
    if Path(typed).name != PROGRAM:
        return PROGRAM
    known = shutil.which(PROGRAM)
    return PROGRAM if known and Path(known).resolve() == Path(typed).resolve() else shlex.quote(typed)


@dataclass(frozen=True)
class Environment:
    """The target of all commands: the folder of a project, and an environment of it.

    `state` is the local stack's folder, None for an environment that `name` selects.
    """

    project: Path
    state: Path | None
    name: str | None = None
    inherited: Mapping[str, str] = field(default_factory=dict, repr=False)
    project_option: bool = False  # the command line names the project, so that commands without it find another

    @property
    def command(self) -> str:
        """The command line that starts `millrace` for this environment."""
        parts = [program()]
        if self.project_option:
            parts.append(f"--project {shlex.quote(str(self.project))}")
        if self.state is None:
            parts.append(f"--environment {self.name}")
        elif self.state != self.project / ".millrace":
            parts.append(f"--state {shlex.quote(str(self.state))}")
        return " ".join(parts)

    def variables(self, *, prefect: bool = True) -> dict[str, str]:
        """Return the variables with which the platform's code addresses this environment.

        Args:
            prefect: require the address of a Prefect server.

        Raises:
            StackDown: the stack of this machine is down.
            SettingsError: settings select another environment, and no Prefect server is set for it.
        """
        if self.state is not None:  # as for the stack itself, settings of the shell do not count
            others = {k: v for k, v in self.inherited.items() if not k.startswith(("MILLRACE_", "PREFECT_"))}
            return others | self._stack_addresses(self.state) | {VARIABLE: str(self.project)}
        if prefect and not self.inherited.get("PREFECT_API_URL"):
            raise SettingsError(
                f"the settings are those of {self.name!r}, but PREFECT_API_URL is not set; export the address of its"
                " Prefect server, or omit --environment to use the stack on this machine"
            )
        return dict(self.inherited) | {"MILLRACE_CONFIG": str(self.name), VARIABLE: str(self.project)}

    def enter(self, *, prefect: bool = True) -> None:
        """Make this process address the environment; raises as `variables` does."""
        variables = self.variables(prefect=prefect)
        os.environ.clear()
        os.environ.update({"DO_NOT_TRACK": "1"} | variables)  # else Prefect's client prints a note on its telemetry

    def local(self, *arguments: str) -> NoReturn:
        """Become `python -m local …`, so that signals and exit code are its own.

        Raises:
            SettingsError: settings select another environment.
        """
        command = self._local(*arguments)
        os.environ[VARIABLE] = str(self.project)
        os.chdir(CODE)
        sys.stdout.flush()
        os.execv(command[0], command)  # noqa: S606  our own module

    def read_local(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `python -m local …` and return its output."""
        return subprocess.run(  # noqa: S603  our own module
            self._local(*arguments),
            cwd=CODE,
            env=os.environ | {VARIABLE: str(self.project)},
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *module: str) -> int:
        """Run a module of the platform with its output shown; return the exit code."""
        command = [sys.executable, "-m", *module]
        return subprocess.run(command, cwd=CODE, env=self.variables(), check=False).returncode  # noqa: S603

    def _local(self, *arguments: str) -> list[str]:
        if self.state is None:
            raise SettingsError(
                f"the stack runs on this machine, and the settings are those of {self.name!r}; omit --environment and"
                " MILLRACE_CONFIG"
            )
        if not (CODE / "local").is_dir():
            raise SettingsError(f"{CODE} has no package `local`; an image of the platform starts no stack")
        return [sys.executable, "-m", "local", "--state", str(self.state), *arguments]

    def _stack_addresses(self, state: Path) -> dict[str, str]:
        process = self.read_local("env")
        if process.returncode == codes.DOWN:
            raise StackDown(f"the stack is down (state in {state}); start it with `millrace up`")
        if process.returncode:
            reason = process.stderr.strip() or process.stdout.strip()
            raise SettingsError(f"cannot read the addresses of the stack in {state}: {reason}")
        pairs = (shlex.split(line)[1].partition("=") for line in process.stdout.splitlines() if line)
        return {name: value for name, _, value in pairs}


@dataclass(frozen=True)
class Options:
    """The options that all commands share; a command that needs no project does not look for one."""

    name: str | None
    state: Path | None
    elsewhere: bool
    project: Path | None
    inherited: Mapping[str, str] = field(repr=False)

    def environment(self) -> Environment:
        """Return the environment that the options select. Raises SettingsError when there is no project."""
        project = current_project()
        state = None if self.elsewhere else (self.state or project.state).resolve()
        named = self.project is not None and self.inherited.get(VARIABLE) != str(self.project)
        file = bool(self.name) and str(self.name).endswith(".toml")
        name = str(Path(str(self.name)).resolve()) if file else self.name  # commands run in other folders as well
        return Environment(project.folder, state, name, self.inherited, project_option=named)


def settings_of(environment: str = "", state: Path | None = None) -> "Settings":
    """Return the settings of an environment, for a notebook.

    Args:
        environment: a name in config/, or a .toml file; '' for the one that MILLRACE_CONFIG selects, else for the stack
            on this machine.
        state: folder of the stack on this machine (.millrace).

    Raises:
        StackDown: the stack of this machine is down.
    """
    from millrace.settings import load_settings

    if environment:
        os.environ["MILLRACE_CONFIG"] = environment
    elif "MILLRACE_CONFIG" not in os.environ:
        project = current_project()
        Environment(project.folder, state or project.state, inherited=dict(os.environ)).enter()
    return load_settings()


def environment_of(context: typer.Context) -> Environment:
    """Return the environment that the options of all commands select."""
    options: Options = context.obj
    environment = options.environment()
    show.root_commands(environment.command)
    return environment


def enter(context: typer.Context, *, prefect: bool = True) -> Environment:
    """Make this process address that environment, and return it; raises as `Environment.variables` does."""
    environment = environment_of(context)
    environment.enter(prefect=prefect)
    return environment
