"""Turns a fork into the process of one command: environment, directory, descriptors, memory limit and exit code."""

import contextlib
import ctypes
import os
import resource
import runpy
import signal
import sys
import traceback
from dataclasses import dataclass, field
from typing import NoReturn

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Command:
    """A module with its arguments, and what its process has; `memory` is in bytes, 0 for no limit."""

    argv: list[str]
    cwd: str
    memory: int = 0
    env: dict[str, str] = field(default_factory=dict)


def become(command: Command, descriptors: list[int]) -> NoReturn:
    """Run the command in this fork and end it with the command's exit code."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
            os.close(descriptor)
        os.setsid()
        end_with_parent(signal.SIGKILL)  # a run would try for minutes to reach a server that has ended too
        limit_memory(command.memory)
        code = run_module(command)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # the server's own clean-up is not the fork's


def limit_memory(limit: int) -> None:
    """Limit the memory that this process and each process that it starts may allocate.

    Linux counts private writable memory (RLIMIT_DATA), with what the fork shares with its server; other systems may
    ignore the limit. An allocation beyond it fails: Python raises MemoryError.
    """
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Have Linux send this process a signal when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def run_module(command: Command) -> int:
    """Run a module as `python -m MODULE …` does; return its exit code."""
    os.environ.clear()
    os.environ.update(command.env)
    os.chdir(command.cwd)
    sys.path[:] = list(dict.fromkeys([os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path]))
    sys.argv = command.argv
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    try:
        runpy.run_module(command.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
            return 1
        return int(end.code or 0)
    return 0
