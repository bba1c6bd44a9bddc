"""Fixtures of tests whose bodies run on every engine of the warehouse."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import ENGINES, Engine, OnEngine, bigquery_engine, duckdb_engine
from tests.support.merging import contract


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "duckdb":
        made = duckdb_engine(tmp_path)
    else:
        made = bigquery_engine(request.getfixturevalue("bigquery"), request.getfixturevalue("lake"))
    with made as found:
        yield found
    for what in found.differs:
        request.node.user_properties.append(("differs", what))


@pytest.fixture
def merging(engine: Engine) -> OnEngine:
    return OnEngine(engine, contract())
