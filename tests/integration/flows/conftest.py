"""One environment for all tests of the flows, in the order of their files, with the first runs of each flow."""

from collections.abc import Iterator

import pytest

from flows.ingest import ingest
from flows.merge import merge
from flows.model import model
from tests.support.flows_place import SOURCE, FlowsPlace, Ran, flows_place

STREAMS = ("flights", "weather", "planes", "airlines", "airports")


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowsPlace]:
    with flows_place(tmp_path_factory.mktemp("flows")) as place:
        yield place


@pytest.fixture(scope="package")
def ingested(place: FlowsPlace) -> Ran:
    """Run the first ingest."""
    return place.run(ingest, source=SOURCE)


@pytest.fixture(scope="package")
def merged(place: FlowsPlace, ingested: Ran) -> dict[str, Ran]:
    """Run the first merge of each stream."""
    assert ingested.state.is_completed()
    return {stream: place.run(merge, source=SOURCE, stream=stream) for stream in STREAMS}


@pytest.fixture(scope="package")
def published(place: FlowsPlace, merged: dict[str, Ran]) -> Ran:
    """Run the model for the first time."""
    assert all(ran.state.is_completed() for ran in merged.values())
    return place.run(model)
