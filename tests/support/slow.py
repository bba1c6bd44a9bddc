"""Marks suites that take minutes, most of which are the start of processes: `make test-kubernetes` runs them."""

import os

import pytest

SWITCH = "MILLRACE_TEST_KUBERNETES"


def slow() -> list[pytest.MarkDecorator]:
    """Skipped unless the target asks for them; a reason is printed."""
    skip = pytest.mark.skipif(not os.environ.get(SWITCH), reason="takes minutes; run by `make test-kubernetes`")
    return [skip, pytest.mark.timeout(900)]
