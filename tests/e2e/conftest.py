"""One stack for all end-to-end tests: the files, servers and processes that `make run` uses, in a state of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.airport_ops.replay import day
from local.demo.day import take_day
from local.demo.say import Say
from tests.e2e.stack import Stack, local


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stack keeps its state."""
    return tmp_path_factory.mktemp("millrace")


@pytest.fixture(scope="session")
def stack(state: Path) -> Iterator[Stack]:
    """The stack, up, with at least a day of data in its marts."""
    came_up = local(state, "up")
    assert came_up.returncode == 0, came_up.stdout + came_up.stderr
    try:
        made = Stack(state)
        if day(made.place.database) == 0:
            take_day(made.platform, 1, Say())
        yield made
    finally:
        went_down = local(state, "down")
        assert went_down.returncode == 0, went_down.stdout + went_down.stderr
