"""A model run that breaks where it builds, and where it publishes: Retry goes on and ends in the right marts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pytest

from millrace.domain.ledger import EVER
from millrace.warehouse.duckdb.lock import hold
from tests.e2e.landing import LSN, airline, land, parquet
from tests.e2e.stack import Stack, folder_in_place_of, now
from tests.support.modelling import Poller

pytestmark = [pytest.mark.demo, pytest.mark.long]
STREAM = {"source": "airport_ops", "stream": "airlines"}
SHOWN = """SELECT (SELECT name FROM marts.dim_airline WHERE carrier = 'ZQ'),
  (SELECT count(*) FROM information_schema.tables WHERE table_schema = 'marts')"""


@contextmanager
def doubled_airline(stack: Stack) -> Iterator[None]:
    """An airline stands in two rows: dbt's test of the dimension's key fails."""
    file, table = stack.state / "warehouse" / "warehouse.duckdb", "raw_airport_ops.airlines"
    lock = file.with_name(f"{file.name}.lock")
    with hold(lock, "test", 30), duckdb.connect(str(file)) as db:
        db.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE carrier = 'UA'")
    try:
        yield
    finally:
        with hold(lock, "test", 30), duckdb.connect(str(file)) as db:
            db.execute(f"DELETE FROM {table} WHERE rowid = (SELECT max(rowid) FROM {table} WHERE carrier = 'UA')")


@pytest.fixture
def changed(stack: Stack) -> Iterator[tuple[Poller, list[Any]]]:
    """A merge that the marts lack, while no event starts a run; and a reader who looks at the marts all the time."""
    published = stack.state / "warehouse" / "published.duckdb"
    with stack.by_hand():
        if stack.run("model/model").state != "COMPLETED":
            pytest.fail("the marts are not up to date")
        with duckdb.connect(str(published), read_only=True) as db:
            before = db.execute(SHOWN).fetchall()
        land(stack.platform.lake, parquet([airline("ZQ", f"{now()}", LSN + int(now().timestamp()))]))
        assert stack.run("merge/merge", **STREAM).state == "COMPLETED"
        poller = Poller(published, SHOWN)
        poller.start()
        yield poller, before
        poller.end()


def test_retry_resumes_build_and_publication(stack: Stack, changed: tuple[Poller, list[Any]]) -> None:
    with doubled_airline(stack):
        failed = stack.run("model/model")
    assert (failed.state, "unique_dim_airline_airline_key" in failed.message) == ("FAILED", True), failed
    assert stack.tasks(failed.id)["Failed"] == ["build_candidates"]
    with folder_in_place_of(stack.state / "warehouse" / "published.duckdb.lock"):
        again = stack.retry(failed.id)
    assert (again.state, "published.duckdb.lock" in again.message) == ("FAILED", True), again
    assert "publish_marts" in stack.tasks(failed.id)["Failed"]
    assert stack.retry(failed.id).state == "COMPLETED"
    assert {"build_candidates", "validate_candidates"} <= set(stack.tasks(failed.id)["Cached"])
    ends_in_new_marts(stack, *changed)


def ends_in_new_marts(stack: Stack, poller: Poller, before: list[Any]) -> None:
    """A reader saw the old marts, then the new ones, and nothing else."""
    name = stack.platform.warehouse.ledger(EVER, kinds=("merged",))[-1]
    assert name.stream == "airlines"
    old, new = poller.end()
    assert old == before
    assert new[0][0] is not None
    assert new[0][0] > (before[0][0] or "")
    assert new[0][1] == before[0][1]
