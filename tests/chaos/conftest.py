"""A stack for each proof, so that none inherits what another broke. Run by `make chaos`, not by `make test`."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, local, new_state


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that has seen no data."""
    state = new_state(tmp_path / "millrace")
    came_up = local(state, "up")
    assert came_up.returncode == 0, came_up.stdout + came_up.stderr
    try:
        yield Stack(state)
    finally:
        went_down = local(state, "down")
        assert went_down.returncode == 0, went_down.stdout + went_down.stderr


@pytest.fixture
def chance() -> random.Random:
    """Chance that `MILLRACE_SEED` repeats, as far as the machine lets it."""
    seed = int(os.environ.get("MILLRACE_SEED", "1"))
    print(f"MILLRACE_SEED={seed}")
    return random.Random(seed)
