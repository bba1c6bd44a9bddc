"""The environment of this process in; the beginning of a command line that addresses it from any shell, out."""

import os
import shlex
from pathlib import Path

from millrace.domain.remedies import PROGRAM
from millrace.project import CHECKOUT, current_project

LOCAL, STATE = "local", ".millrace"


def command_line() -> str:
    """Return `millrace` with the options that select this process's platform, for pages and alerts.

    A stack on this machine is selected by its project and state, any other environment by its name.
    """
    state, name = os.environ.get("MILLRACE_STATE"), Path(os.environ.get("MILLRACE_CONFIG", LOCAL)).stem
    if not state:
        return PROGRAM if name == LOCAL else f"{PROGRAM} --environment {name}"
    folder, options = Path(state).resolve(), []
    project = folder.parent if folder.name == STATE else current_project().folder
    if project != CHECKOUT and folder not in project.parents:  # the state has a copy of the project, which runs use
        options.append(f"--project {shlex.quote(str(project))}")
    if folder.name != STATE:
        options.append(f"--state {shlex.quote(state)}")
    return " ".join([PROGRAM, *options])
