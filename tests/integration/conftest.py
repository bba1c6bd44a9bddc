"""Fixtures for tests whose bodies run on both engines of the warehouse."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bigquery import BigQuery
from tests.support.engines import ENGINES, Engine, OnEngine, bigquery_engine, duckdb_engine
from tests.support.google_sql.front import Front
from tests.support.merging import contract


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "duckdb":
        context = duckdb_engine(tmp_path)
    else:
        context = bigquery_engine(request.getfixturevalue("bigquery"), request.getfixturevalue("lake"))
    with context as running:
        yield running
    for difference in running.differs:
        request.node.user_properties.append(("differs", difference))


@pytest.fixture
def merging(engine: Engine) -> OnEngine:
    return OnEngine(engine, contract())


@pytest.fixture
def front(bigquery: BigQuery) -> Iterator[str]:
    """The address of a front of the emulator that has BigQuery's rule of layouts; empty on Google's."""
    if not bigquery.endpoint:
        yield ""
        return
    opened = Front(bigquery)
    yield opened.url
    opened.close()
