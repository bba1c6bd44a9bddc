"""The flows for keys: `erase` deletes the rows of a key permanently, `check-keys` finds keys with two rows."""

import duckdb
import pytest

from flows.check_keys import check_keys
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
def test_erased_key_leaves_marts_and_stays_away(place: FlowsPlace, published: Ran) -> None:
    place.run(merge, source=SOURCE, stream="airlines")  # what the tests before left
    land(place.lake, parquet([airline("ZE", "a person's name")]))
    assert place.run(merge, source=SOURCE, stream="airlines").result == 1
    assert place.run(model).result >= 1
    shown = "SELECT name FROM marts.dim_airline WHERE carrier = 'ZE'"
    assert place.marts(shown) == [("a person's name",)]
    with pytest.raises(EventRefused, match=r"airlines: \{'faa': 'ZE'\} is not a valid key; expected columns carrier"):
        place.run(erase, **ERASED | {"keys": [{"faa": "ZE"}]}).result  # noqa: B018  raises the flow's error
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


def test_doubled_key_is_found_and_no_other(place: FlowsPlace, published: Ran) -> None:
    assert place.run(check_keys).result == []
    file, table = place.stack.state / "warehouse" / "warehouse.duckdb", f"raw_{SOURCE}.airports"
    with duckdb.connect(str(file)) as db:
        db.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE faa IN ('JFK', 'LGA')")
    try:
        with captured() as lines:
            ran = place.run(check_keys)
    finally:
        with duckdb.connect(str(file)) as db:
            db.execute(f"CREATE TEMP TABLE one AS SELECT DISTINCT * FROM {table} WHERE faa IN ('JFK', 'LGA')")
            db.execute(f"DELETE FROM {table} WHERE faa IN ('JFK', 'LGA'); INSERT INTO {table} FROM one")
    assert ran.result == [f"{SOURCE}.airports"]
    assert "keys_doubled" in hits(lines)
    wait_until(lambda: place.api.events(names.KEYS_DOUBLED, place.began), "the finding is an event")
    (event,) = place.api.events(names.KEYS_DOUBLED, place.began)
    assert (event["payload"]["stream"], event["payload"]["keys"], event["payload"]["run_id"]) == ("airports", 2, ran.id)
    assert event["resource"]["prefect.resource.id"] == names.stream_resource(SOURCE, "airports")
    assert place.run(check_keys).result == []
