"""From a sync to the status page with every process as its account of Terraform's, on servers that enforce rights."""

from collections.abc import Iterator

import pytest

from tests.support.guarded_platform import SOURCE, GuardedPlatform, guarded_platform
from tests.support.rights import used_by

pytestmark = [pytest.mark.demo, pytest.mark.long, pytest.mark.timeout(7200)]
MERGED = ("airlines", "flights")
# A model run may not read Airbyte's login: its status page shows the jobs that another run has read.
TOLERATED = {"dbt": {"secretmanager.versions.access"}}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedPlatform]:
    with guarded_platform(tmp_path_factory.mktemp("rights-way")) as platform:
        yield platform


def test_each_account_may_do_its_part_and_no_more(platform: GuardedPlatform) -> None:
    merges = [("merge", {"source": SOURCE, "stream": stream}) for stream in MERGED]
    *_, first, second, unknown = platform.run("flow", ("connections", {}), ("ingest", {"source": SOURCE}), *merges)
    assert (first, second, unknown) == (1, 1, [])
    batches, publications, unknown = platform.run("dbt", ("model", {}), ("show", {}))
    assert (batches, len(publications), unknown) == (2, 1, [])
    due, gaps, unknown = platform.run("flow", ("rotation", {}), ("reconcile", {"dry_run": True}))
    assert (due, unknown) == (0, [])
    assert gaps >= 3, "the landings of the other streams"
    assert used_by(platform.rights, "denied") == TOLERATED
