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
from tests.support.flow_environment import SOURCE, FlowEnvironment, Ran
from tests.support.servers import wait_until

pytestmark = pytest.mark.demo

ERASED = {"source": SOURCE, "stream": "airlines", "keys": [{"carrier": "ZE"}], "reason": "request 7"}


@pytest.mark.long
def test_erased_key_leaves_marts_and_stays_away(environment: FlowEnvironment, published: Ran) -> None:
    environment.run(merge, source=SOURCE, stream="airlines")  # what the tests before left
    land(environment.lake, parquet([airline("ZE", "a person's name")]))
    assert environment.run(merge, source=SOURCE, stream="airlines").result == 1
    assert environment.run(model).result >= 1
    shown = "SELECT name FROM marts.dim_airline WHERE carrier = 'ZE'"
    assert environment.marts(shown) == [("a person's name",)]
    with pytest.raises(EventRefused, match=r"airlines: \{'faa': 'ZE'\} is not a valid key; expected columns carrier"):
        environment.run(erase, **ERASED | {"keys": [{"faa": "ZE"}]}).result  # noqa: B018  raises the flow's error
    ran = environment.run(erase, **ERASED)
    assert ran.result == 1
    (fact,) = [e for e in environment.ledger("erased") if e.detail == "request 7"]
    assert [m["batch_id"] for m in environment.messages(names.WAREHOUSE_MERGED)].count(fact.batch_id) == 1
    assert environment.run(model).result == 1
    assert environment.marts(shown) == []
    land(environment.lake, parquet([airline("ZE", "a person's name", LSN + 1)]))
    assert environment.run(merge, source=SOURCE, stream="airlines").result == 1
    assert environment.query(f"SELECT name FROM raw_{SOURCE}.airlines WHERE carrier = 'ZE'") == [(None,)]
    assert environment.run(erase, **ERASED).result == 1
    assert len([e for e in environment.ledger("erased") if e.detail == "request 7"]) == 1


def test_doubled_key_is_found_and_no_other(environment: FlowEnvironment, published: Ran) -> None:
    assert environment.run(check_keys).result == []
    file, table = environment.stack.state / "warehouse" / "warehouse.duckdb", f"raw_{SOURCE}.airports"
    with duckdb.connect(str(file)) as db:
        db.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE faa IN ('JFK', 'LGA')")
    try:
        with captured() as lines:
            ran = environment.run(check_keys)
    finally:
        with duckdb.connect(str(file)) as db:
            db.execute(f"CREATE TEMP TABLE one AS SELECT DISTINCT * FROM {table} WHERE faa IN ('JFK', 'LGA')")
            db.execute(f"DELETE FROM {table} WHERE faa IN ('JFK', 'LGA'); INSERT INTO {table} FROM one")
    assert ran.result == [f"{SOURCE}.airports"]
    assert "keys_doubled" in hits(lines)
    wait_until(lambda: environment.api.events(names.KEYS_DOUBLED, environment.began), "the finding is an event")
    (event,) = environment.api.events(names.KEYS_DOUBLED, environment.began)
    assert (event["payload"]["stream"], event["payload"]["keys"], event["payload"]["run_id"]) == ("airports", 2, ran.id)
    assert event["resource"]["prefect.resource.id"] == names.stream_resource(SOURCE, "airports")
    assert environment.run(check_keys).result == []
