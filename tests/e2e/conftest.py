"""One stack for all end-to-end tests: the files, servers and processes that `make run` uses, in a state of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.demo.airport_ops.replay import day
from local.demo.day import take_day
from local.demo.say import Say
from local.stack.place import PREFERRED_PORTS
from tests.e2e.stack import Stack, local
from tests.support.servers import free_port


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stack keeps its state; its ports are none that other tests, or Prefect's harness, prefer."""
    made = tmp_path_factory.mktemp("millrace")
    (made / "ports.json").write_text(json.dumps({service: free_port() for service in PREFERRED_PORTS}))
    return made


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
