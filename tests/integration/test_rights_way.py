"""From a sync to the status page with every process as its account of Terraform's, on servers that enforce rights."""

from collections.abc import Iterator

import pytest

from tests.support.guarded_place import SOURCE, GuardedPlace, guarded_place
from tests.support.rights import used_by

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]
MERGED = ("airlines", "flights")
# A model run may not read Airbyte's login: its status page shows the jobs that another run has read.
TOLERATED = {"dbt": {"secretmanager.versions.access"}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedPlace]:
    with guarded_place(tmp_path_factory.mktemp("rights-way")) as place:
        yield place


def test_each_account_may_do_its_part_and_no_more(place: GuardedPlace) -> None:
    merges = [("merge", {"source": SOURCE, "stream": stream}) for stream in MERGED]
    *_, first, second, unknown = place.run("flow", ("connections", {}), ("ingest", {"source": SOURCE}), *merges)
    assert (first, second, unknown) == (1, 1, [])
    batches, unknown = place.run("dbt", ("model", {}))
    assert (batches, unknown) == (2, [])
    due, gaps, unknown = place.run("flow", ("rotation", {}), ("reconcile", {"dry_run": True}))
    assert (due, unknown) == (0, [])
    assert gaps >= 3, "the landings of the other streams"
    assert used_by(place.rights, "denied") == TOLERATED
