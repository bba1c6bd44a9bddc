"""Imports `prefect_gcp` without the client of Vertex AI, which no block uses: its import takes seconds of CPU."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

VERTEX = "google.cloud.aiplatform"


@contextmanager
def without_vertex() -> Iterator[None]:
    """Hide the client meanwhile, as if it were not installed, which `prefect_gcp` allows; leave a loaded one alone."""
    if VERTEX in sys.modules:
        yield
        return
    sys.modules[VERTEX] = None  # type: ignore[assignment]  # https://docs.python.org/3/reference/import.html#the-module-cache
    try:
        yield
    finally:
        del sys.modules[VERTEX]
