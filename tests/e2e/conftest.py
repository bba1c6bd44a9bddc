"""One stack for all end-to-end tests: the files, servers and processes that `make run` uses, in a state of its own."""

from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.e2e.stack import Stack, local, new_state


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the stack's state directory."""
    return new_state(tmp_path_factory.mktemp("millrace"))


@pytest.fixture(scope="session")
def first_day(state: Path) -> Iterator["CompletedProcess[str]"]:
    """Bring the stack up and run a day of data through it; return that command with its output."""
    came_up = local(state, "up")
    assert came_up.returncode == 0, came_up.stdout + came_up.stderr
    try:
        yield local(state, "run", "--days", "1", "--exit")  # a stack that was up stays up
    finally:
        went_down = local(state, "down")
        assert went_down.returncode == 0, went_down.stdout + went_down.stderr


@pytest.fixture(scope="session")
def stack(state: Path, first_day: "CompletedProcess[str]") -> Stack:
    """Return the stack, up, with at least a day of data in its marts."""
    assert first_day.returncode == 0, first_day.stdout + first_day.stderr
    return Stack(state)
