"""The pytest plugin of a suite's process: the guard, the choice of tests, the recording of answers."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cloud.budget import Limits
from tests.cloud.guard import Guard
from tests.cloud.journal import Journal
from tests.cloud.recording import Recorder
from tests.cloud.suites import DATASETS, PARENT, STEP, suite_of
from tests.cloud.target import FOLDER, LIMITS, running
from tests.cloud.transport import guarded

LEFT_OUT_ENGINES = ("duckdb", "emulator")
STACK = pytest.StashKey[ExitStack]()
RECORDER = pytest.StashKey[Recorder]()
PARENT_POLL_S = 0.5


def pytest_configure(config: pytest.Config) -> None:
    """Let all calls of this process pass the guard."""
    run = running()
    if run is None:
        raise pytest.UsageError("this plugin is for runs of the kit: `make cloud-smoke`")
    folder = Path(os.environ[FOLDER])
    guard = Guard(
        run.target,
        Journal(folder),
        Limits.load(os.environ.get(LIMITS, "")),
        step=os.environ[STEP],
        writes=True,
        run=run.id,
        datasets=json.loads(os.environ.get(DATASETS, "[]")),
    )
    recorder = Recorder(folder / "answers", run)
    stack = ExitStack()
    stack.enter_context(guarded(guard, recorder.answered))
    config.stash[STACK], config.stash[RECORDER] = stack, recorder
    threading.Thread(target=_end_with, args=(int(os.environ[PARENT]),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when the kit's process was killed: what it left is for `--clean-up`."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os._exit(70)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let calls pass without the guard again."""
    config.stash[STACK].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of local servers, and those of engines that run on this machine."""
    suite = suite_of(os.environ[STEP])
    chosen = [item for item in items if _is_chosen(item, suite.left_out)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def _is_chosen(item: pytest.Item, left_out: object) -> bool:
    own = getattr(item, "callspec", None)
    values = [str(value) for value in own.params.values()] if own else []
    name = getattr(item, "originalname", "") or item.name
    return name not in left_out and not set(values) & set(LEFT_OUT_ENGINES)  # type: ignore[operator]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """Record the answers of each test as one conversation."""
    recorder = item.config.stash[RECORDER]
    recorder.begin(item.nodeid)
    try:
        return (yield)  # type: ignore[misc]
    finally:
        recorder.end()
