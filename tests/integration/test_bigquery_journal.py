"""Tables of the platform's own on BigQuery that grow: what is read of them, and what is deleted. On the emulator."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from millrace.domain.errors import CandidateMissing
from tests.support.bigquery import BigQuery
from tests.support.engines import Engine, OnEngine, bigquery_engine
from tests.support.merging import NOON, contract, upsert

pytestmark = pytest.mark.bigquery


@pytest.fixture
def engine(request: pytest.FixtureRequest, bigquery: BigQuery) -> Iterator[Engine]:
    with bigquery_engine(bigquery, request.getfixturevalue("lake")) as bigquery_run:
        yield bigquery_run


def candidates(engine: Engine) -> list[str]:
    return [str(name) for (name,) in engine.query("SELECT DISTINCT candidate FROM {ops}.publications ORDER BY 1")]


def age(engine: Engine) -> None:
    """Make the journal a hundred days older."""
    engine.change("UPDATE {ops}.publications SET written_at = TIMESTAMP_SUB(written_at, INTERVAL 100 DAY) WHERE TRUE")


def test_old_rows_of_the_journal_are_deleted(engine: Engine) -> None:
    for number, marts in ((1, ("dim", "old")), (2, ("dim",)), (3, ("dim",))):
        engine.build(f"candidate_{number}", {mart: f"SELECT {number} AS id" for mart in marts})
        engine.warehouse.publish(f"candidate_{number}")
    engine.warehouse.begin_candidate("candidate_4", empty=True)
    assert candidates(engine) == [f"candidate_{number}" for number in range(1, 5)]
    age(engine)
    engine.build("candidate_5", {"dim": "SELECT 5 AS id"})
    assert engine.warehouse.publish("candidate_5") == {"dim": 1}
    assert candidates(engine) == ["candidate_2", "candidate_5"], "2 dropped the mart `old`; 4 was never published"
    with pytest.raises(CandidateMissing):
        engine.warehouse.publish("candidate_3")
    engine.build("candidate_6", {"fct": "SELECT 6 AS id"})
    assert engine.again().publish("candidate_6") == {"fct": 1}, "the mart `dim` is known as the platform's, and dropped"


def test_journal_keeps_candidates_that_exist(engine: Engine, bigquery: BigQuery) -> None:
    engine.build("candidate_1", {"dim": "SELECT 1 AS id"})
    engine.warehouse.publish("candidate_1")
    engine.build("candidate_2", {"dim": "SELECT 2 AS id"}, empty=False)
    age(engine)
    patient = bigquery.warehouse(engine.schema("").rstrip("_"), keep_candidates_days=1000)
    engine.build("candidate_3", {"dim": "SELECT 3 AS id"})
    patient.publish("candidate_3")
    assert candidates(engine) == ["candidate_2", "candidate_3"]
    patient.close()


def test_objects_of_an_older_version_are_shown(engine: Engine, bigquery: BigQuery) -> None:
    """The table of objects has partitions, by which the page's query is bounded; an older one has no time at all."""
    merging, since = OnEngine(engine, contract()), NOON - timedelta(days=1)
    merging.land(rows=[upsert(1, 10)])
    merging.merge()
    client = bigquery.client()
    objects = client.get_table(f"{bigquery.project}.{engine.schema('ops')}.ledger_objects")
    assert (objects.time_partitioning.type_, objects.time_partitioning.field) == ("MONTH", "merged_at")
    client.close()
    assert len(engine.warehouse.merged_syncs(since)) == 1
    engine.change(
        "CREATE TABLE {ops}.kept AS SELECT * EXCEPT (merged_at) FROM {ops}.ledger_objects",
        "DROP TABLE {ops}.ledger_objects",
        "CREATE TABLE {ops}.ledger_objects AS SELECT * FROM {ops}.kept",
    )
    assert len(engine.again().merged_syncs(since)) == 1
    merging.warehouse = engine.again()  # type: ignore[assignment]
    merging.land(rows=[upsert(2, 11)])
    merging.merge()
    assert merging.query("SELECT merged_at FROM {ops}.ledger_objects ORDER BY 1") == [(None,), (NOON,)]
    assert len(engine.again().merged_syncs(since)) == 2
    assert engine.again().merged_syncs(NOON + timedelta(days=40)) == {}
