"""One environment for all tests of the flows, in the order of their files, with the first runs of each flow."""

from collections.abc import Iterator

import pytest

from flows.ingest import ingest
from flows.merge import merge
from flows.model import model
from flows.show import show
from tests.support.flow_environment import SOURCE, FlowEnvironment, Ran, flow_environment

STREAMS = ("flights", "weather", "planes", "airlines", "airports")


@pytest.fixture(scope="package")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowEnvironment]:
    with flow_environment(tmp_path_factory.mktemp("flows")) as environment:
        yield environment


@pytest.fixture(scope="package")
def ingested(environment: FlowEnvironment) -> Ran:
    """Run the first ingest."""
    return environment.run(ingest, source=SOURCE)


@pytest.fixture(scope="package")
def merged(environment: FlowEnvironment, ingested: Ran) -> dict[str, Ran]:
    """Run the first merge of each stream."""
    assert ingested.state.is_completed()
    return {stream: environment.run(merge, source=SOURCE, stream=stream) for stream in STREAMS}


@pytest.fixture(scope="package")
def published(environment: FlowEnvironment, merged: dict[str, Ran]) -> Ran:
    """Run the model for the first time."""
    assert all(ran.state.is_completed() for ran in merged.values())
    return environment.run(model)


@pytest.fixture(scope="package")
def shown(environment: FlowEnvironment, published: Ran) -> Ran:
    """Show the first publication."""
    assert published.state.is_completed()
    return environment.run(show)
