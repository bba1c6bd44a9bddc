"""What costs money on BigQuery when it is forgotten: datasets of candidates, and queries of the gate."""

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from google.cloud import bigquery as google

from millrace.warehouse.bigquery.engine import BigQueryEngine
from millrace.warehouse.bigquery.look import JOBS_OF_A_MERGE, MOST_JOBS, PAGE, History
from millrace.warehouse.bigquery.sql import Namespace
from tests.support.bigquery import BigQuery
from tests.support.engines import Engine, bigquery_engine
from tests.support.merging import NOON


@pytest.fixture
def engine(bigquery: BigQuery, request: pytest.FixtureRequest) -> Iterator[Engine]:
    with bigquery_engine(bigquery, request.getfixturevalue("lake")) as running:
        yield running


def candidates(bigquery: BigQuery, engine: Engine) -> set[str]:
    """The datasets of candidates that exist."""
    prefix = engine.schema("")
    datasets = {d.dataset_id.removeprefix(prefix) for d in bigquery.client().list_datasets()}
    return {name for name in datasets if name.startswith("candidate_")}


@pytest.mark.bigquery
def test_datasets_of_ended_candidates_are_deleted(engine: Engine, bigquery: BigQuery) -> None:
    client, stranger = bigquery.client(), f"{bigquery.project}.{engine.schema('candidate_of_a_person')}"
    client.create_dataset(stranger)
    for name in ("candidate_1", "candidate_refused", "candidate_2"):
        engine.build(name, {"a": "SELECT 1 AS id"}, empty=name == "candidate_1")
        if name == "candidate_1":
            assert engine.warehouse.publish(name) == {"a": 1}
    assert candidates(bigquery, engine) == {"candidate_refused", "candidate_2", "candidate_of_a_person"}
    engine.warehouse.publish("candidate_2")
    assert candidates(bigquery, engine) == {"candidate_refused", "candidate_of_a_person"}, "it is kept for inspection"
    assert engine.warehouse.publish("candidate_2") == {"a": 1}, "again: no change"
    engine.write(
        f"UPDATE `{engine.schema('ops')}`.publications SET written_at = TIMESTAMP '2026-01-01'"
        " WHERE candidate = 'candidate_refused'"
    )
    engine.warehouse.publish("candidate_2")
    assert candidates(bigquery, engine) == {"candidate_of_a_person"}


@pytest.mark.bigquery
def test_query_of_the_gate_has_a_bound(engine: Engine, bigquery: BigQuery) -> None:
    from millrace.quality.engine import open_context  # imports Great Expectations, which takes seconds

    thrifty = bigquery.warehouse(engine.schema("").rstrip("_"), max_bytes_billed=1)
    engine.build("candidate_1", {"a": "SELECT 1 AS id"})
    with open_context(thrifty.candidate_url("candidate_1"), "marts") as (_, datasource):
        connection = datasource.get_execution_engine().engine.connect()
        with pytest.raises(Exception, match="exceeded limit for bytes billed: 1"):
            connection.exec_driver_sql("SELECT COUNT(*) FROM a").fetchall()


def test_gate_connection_has_labels_location_and_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.access.credentials", lambda endpoint: None)
    passed: dict[str, object] = {}
    monkeypatch.setattr(google, "Client", lambda project, **options: passed.update(options, project=project))
    url = "bigquery://my-project/candidate_1?location=EU&maximum_bytes_billed=1024"
    connection = BigQueryEngine().gate_connection(url, "marts")
    config = passed["default_query_job_config"]
    assert isinstance(config, google.QueryJobConfig)
    assert (passed["project"], passed["location"], passed["client_options"]) == ("my-project", "EU", None)
    assert (config.labels, config.maximum_bytes_billed) == ({"millrace_step": "gate"}, 1024)
    assert parse_qs(urlsplit(connection.url).query) == {"user_supplied_client": ["True"]}


@pytest.mark.parametrize(
    ("merges", "listed"), [(MOST_JOBS // JOBS_OF_A_MERGE, 1), (MOST_JOBS // JOBS_OF_A_MERGE + 1, 0)]
)
def test_jobs_are_not_listed_beside_many_merges(merges: int, listed: int) -> None:
    calls: list[dict[str, object]] = []

    def list_jobs(**options: object) -> list[object]:
        calls.append(options)
        return []

    jobs = SimpleNamespace(
        namespace=Namespace.of("bigquery://my-project/EU"),
        rows=lambda *_, **__: [(merges,)],
        client=SimpleNamespace(list_jobs=list_jobs),
        translate_errors=lambda _: nullcontext(),
    )
    assert History(jobs).billed_bytes(NOON) == ({} if listed else None)  # type: ignore[arg-type]
    assert [call["page_size"] for call in calls] == [PAGE] * listed
