"""One stack for all end-to-end tests: the files, servers and processes that `make run` uses, in a state of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.demo.airport_ops.replay import day
from local.demo.day import take_day
from local.demo.say import Say
from local.stack.ports import PREFERRED_PORTS
from tests.e2e.stack import Stack, local
from tests.support.servers import free_port


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the stack's state directory; its ports differ from those that other tests or Prefect's harness prefer."""
    directory = tmp_path_factory.mktemp("millrace")
    (directory / "ports.json").write_text(json.dumps({service: free_port() for service in PREFERRED_PORTS}))
    return directory


@pytest.fixture(scope="session")
def stack(state: Path) -> Iterator[Stack]:
    """The stack, up, with at least a day of data in its marts."""
    came_up = local(state, "up")
    assert came_up.returncode == 0, came_up.stdout + came_up.stderr
    try:
        running = Stack(state)
        if day(running.local.database) == 0:
            take_day(running.platform, 1, Say())
        yield running
    finally:
        went_down = local(state, "down")
        assert went_down.returncode == 0, went_down.stdout + went_down.stderr
