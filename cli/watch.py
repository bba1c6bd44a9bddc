"""Follows the files of a project on this machine: each change is deployed."""

import subprocess
import sys
import time

from cli import show
from cli.environment import Environment
from millrace.domain.errors import SettingsError
from millrace.project import CODE, VARIABLE, Project
from millrace.project_snapshot import digest

POLL_S = 1.0


def watch_project(environment: Environment) -> None:
    """Start the stack unless it runs, and deploy at each change of the project's files, until Ctrl-C.

    Raises:
        SettingsError: settings select another environment, or the stack did not come up.
    """
    if environment.state is None:
        raise SettingsError("--watch follows the files of this machine's stack; omit --environment and MILLRACE_CONFIG")
    if _run(environment, "up"):
        raise SettingsError(f"the stack did not come up; its logs are in {environment.state / 'logs'}")
    project, deployed = Project(environment.project), ""
    show.line(f"following {project.folder}: each change is deployed until Ctrl-C, and the stack stays up", "good")
    try:
        while True:
            if (now := digest(project)) != deployed and now == _settled(project):
                show.line(f"deploying {now}")
                if _run(environment, "deploy"):
                    show.line("not deployed; runs use the version before, and the next change is tried again", "bad")
                deployed = now
            time.sleep(POLL_S)  # looks at the files, whose changes nobody reports
    except KeyboardInterrupt:
        show.line("no longer following; the stack stays up")


def _settled(project: Project) -> str:
    """Return the digest a moment later: a change of many files is one change."""
    time.sleep(POLL_S / 2)  # an editor does not say when it has written the last file
    return digest(project)


def _run(environment: Environment, *command: str) -> int:
    """Run a command of `millrace` for this project; return its exit code."""
    words = [sys.executable, "-m", "cli", "--state", str(environment.state), *command]
    variables = dict(environment.inherited) | {VARIABLE: str(environment.project)}
    variables.pop("MILLRACE_CONFIG", None)
    return subprocess.run(words, cwd=CODE, env=variables, check=False).returncode  # noqa: S603  our own command
