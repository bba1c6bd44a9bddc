"""The flows that look after keys: one erases them for good, one finds those that stand in two rows."""

import duckdb
import pytest

from flows.audit import audit
from flows.erase import erase
from flows.merge import merge
from flows.model import model
from millrace.domain import names
from millrace.domain.errors import EventRefused
from tests.e2e.landing import LSN, airline, land, parquet
from tests.integration.test_alerts import hits
from tests.support.captured import captured
from tests.support.flows_place import SOURCE, FlowsPlace, Ran
from tests.support.servers import wait_until

ERASED = {"source": SOURCE, "stream": "airlines", "keys": [{"carrier": "ZE"}], "reason": "request 7"}


@pytest.mark.long
def test_an_erased_key_leaves_the_marts_and_comes_with_no_later_merge(place: FlowsPlace, published: Ran) -> None:
    land(place.lake, parquet([airline("ZE", "a person's name")]))
    place.settle()
    shown = "SELECT name FROM marts.dim_airline WHERE carrier = 'ZE'"
    assert place.marts(shown) == [("a person's name",)]
    with pytest.raises(EventRefused, match=r"airlines: \{'faa': 'ZE'\} is no key; give carrier"):
        place.run(erase, **ERASED | {"keys": [{"faa": "ZE"}]}).result  # noqa: B018  it raises what the flow raised
    ran = place.run(erase, **ERASED)
    assert ran.result == 1
    (fact,) = [e for e in place.ledger("erased") if e.detail == "request 7"]
    assert [m["batch_id"] for m in place.messages(names.WAREHOUSE_MERGED)].count(fact.batch_id) == 1
    assert place.run(model).result == 1
    assert place.marts(shown) == []
    land(place.lake, parquet([airline("ZE", "a person's name", LSN + 1)]))
    assert place.run(merge, source=SOURCE, stream="airlines").result == 1
    assert place.query(f"SELECT name FROM raw_{SOURCE}.airlines WHERE carrier = 'ZE'") == [(None,)]
    assert place.run(erase, **ERASED).result == 1
    assert len([e for e in place.ledger("erased") if e.detail == "request 7"]) == 1


def test_the_audit_tells_of_a_key_in_two_rows_and_of_no_other(place: FlowsPlace, published: Ran) -> None:
    assert place.run(audit).result == []
    file, table = place.place.state / "warehouse" / "warehouse.duckdb", f"raw_{SOURCE}.airports"
    with duckdb.connect(str(file)) as db:
        db.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE faa IN ('JFK', 'LGA')")
    try:
        with captured() as lines:
            ran = place.run(audit)
    finally:
        with duckdb.connect(str(file)) as db:
            db.execute(f"CREATE TEMP TABLE one AS SELECT DISTINCT * FROM {table} WHERE faa IN ('JFK', 'LGA')")
            db.execute(f"DELETE FROM {table} WHERE faa IN ('JFK', 'LGA'); INSERT INTO {table} FROM one")
    assert ran.result == [f"{SOURCE}.airports"]
    assert "keys_doubled" in hits(lines)
    wait_until(lambda: place.api.events(names.KEYS_DOUBLED, place.began), "the finding is an event")
    (told,) = place.api.events(names.KEYS_DOUBLED, place.began)
    assert (told["payload"]["stream"], told["payload"]["keys"], told["payload"]["run_id"]) == ("airports", 2, ran.id)
    assert told["resource"]["prefect.resource.id"] == names.stream_resource(SOURCE, "airports")
    assert place.run(audit).result == []
