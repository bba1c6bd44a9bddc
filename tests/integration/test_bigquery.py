"""Behaviour of the BigQuery adapter alone: unique jobs, retries, budgets, resumed publications. On the emulator."""

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from google.api_core.exceptions import BadRequest

from beam_job.batches import pending
from millrace.domain.errors import (
    AccessDenied,
    BalanceError,
    BudgetExceeded,
    MartsMoved,
    ServiceUnavailable,
    WarehouseRefused,
)
from millrace.domain.ledger import EVER
from millrace.warehouse.bigquery import merge_sql as bigquery_merge_sql
from millrace.warehouse.bigquery.jobs import Jobs, is_transient
from millrace.warehouse.bigquery.sql import Namespace
from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse
from tests.support.bigquery import BigQuery
from tests.support.engines import Engine, OnEngine, bigquery_engine
from tests.support.merging import NOON, contract, upsert
from tests.support.proxy import Proxy
from tests.support.servers import ROOT, free_port, listens, wait_until

pytestmark = pytest.mark.bigquery


@pytest.fixture
def engine(request: pytest.FixtureRequest, bigquery: BigQuery) -> Iterator[Engine]:
    with bigquery_engine(bigquery, request.getfixturevalue("lake")) as bigquery_run:
        yield bigquery_run


@pytest.fixture
def jobs(bigquery: BigQuery) -> Jobs:
    return Jobs(Namespace(bigquery.project, bigquery.location), bigquery.endpoint, retry_s=3)


def warehouse_of(engine: Engine) -> BigQueryWarehouse:
    assert isinstance(engine.warehouse, BigQueryWarehouse)
    return engine.warehouse


def test_job_with_a_name_runs_once(jobs: Jobs, engine: Engine) -> None:
    warehouse_of(engine).append()
    table = f"{engine.schema('ops')}.counted"
    jobs.rows(f"CREATE TABLE {table} (n INT64)", step="test")
    name = uuid.uuid4().hex
    others = [Jobs(jobs.namespace, jobs._endpoint, retry_s=3) for _ in range(4)]
    threads = [
        threading.Thread(target=other.query, args=(name, f"INSERT INTO {table} VALUES (1)"), kwargs={"step": "test"})
        for other in others
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert jobs.rows(f"SELECT COUNT(*) FROM {table}", step="test") == [(1,)]


def test_failed_or_lost_job_gets_another_attempt(jobs: Jobs, engine: Engine) -> None:
    name = uuid.uuid4().hex
    missing = f"SELECT COUNT(*) FROM {engine.schema('ops')}.quality"
    with pytest.raises(WarehouseRefused, match=r"BigQuery rejected test: .*Not found"):
        jobs.query(name, missing, step="test")
    warehouse_of(engine).append(*[])
    warehouse_of(engine)._schema.create_ops()
    assert jobs.query(name, missing, step="test").job_id == f"millrace-{name}-2"
    assert jobs.query(name, missing, step="test").job_id == f"millrace-{name}-2"
    assert jobs.query(name, missing, step="test", holds=lambda _: False).job_id == f"millrace-{name}-3"


def test_emulator_ends_when_the_tests_are_killed(bigquery: BigQuery, tmp_path: Path) -> None:
    if not bigquery.endpoint:
        pytest.skip("Google's BigQuery is no process of these tests")
    starts = (
        "import sys, time\nfrom pathlib import Path\nfrom tests.support.bigquery import emulator\n"
        "with emulator(Path(sys.argv[1])) as own:\n    print(own.endpoint, flush=True)\n    time.sleep(600)"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", starts, str(tmp_path / "state")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout
    port = int(killed.stdout.readline().rsplit(":", 1)[1])
    assert listens(port)
    killed.kill()
    killed.wait(10)
    wait_until(lambda: not listens(port), "the emulator has ended too")


def test_full_table_queue_is_awaited() -> None:
    full = "Resources exceeded: Too many DML statements outstanding against table p.d.t, limit is 20."
    assert is_transient(BadRequest(full, errors=[{"reason": "resourcesExceeded"}]))


@pytest.mark.parametrize(
    ("error", "again"),
    [
        ("backendError", True),
        ("rateLimitExceeded", True),
        ("jobRateLimitExceeded", True),
        ("internalError", True),
        ("invalidQuery", False),
        ("quotaExceeded", False),
        ("accessDenied", False),
        ("resourcesExceeded", False),
    ],
)
def test_only_documented_transient_errors_retry(error: str, again: bool) -> None:
    assert is_transient(BadRequest("it failed", errors=[{"reason": error}])) == again


def test_unreachable_server_is_named_and_recovers(bigquery: BigQuery) -> None:
    gone = bigquery.warehouse("gone", endpoint=f"http://127.0.0.1:{free_port()}", retry_s=0.5)
    with pytest.raises(ServiceUnavailable, match="BigQuery did not serve"):
        gone.ledger(EVER)


def test_server_error_is_quoted(bigquery: BigQuery) -> None:
    proxy = Proxy(int(bigquery.endpoint.rsplit(":", 1)[1]))
    try:
        refused = bigquery.warehouse("refused", endpoint=proxy.url, retry_s=0.5)
        with proxy.refusing("GET"), pytest.raises(AccessDenied, match="refused by the test"):
            refused.ledger(EVER)
    finally:
        proxy.close()


def test_commit_with_lost_answer_is_recognized(engine: Engine, bigquery: BigQuery) -> None:
    merging = OnEngine(engine, contract())
    merging.land(rows=[upsert(1, 10)])
    batch = merging.opened()
    staged = merging.staged(batch)
    proxy = Proxy(int(bigquery.endpoint.rsplit(":", 1)[1]))
    try:
        prefix = engine.schema("").rstrip("_")
        deaf = bigquery.warehouse(prefix, endpoint=proxy.url, retry_s=0.5)
        with proxy.refusing(r"POST \S*/jobs.*millrace-balance"), pytest.raises(AccessDenied):
            deaf.commit(merging.contract, batch, staged, merging.lake, run_id="lost", at=NOON)
        assert proxy.refused > 0
    finally:
        proxy.close()
    assert merging.commit(batch, staged).merged == 1
    assert merging.query("SELECT epoch FROM {ops}.head__shop__orders") == [(1,)]
    assert merging.query("SELECT COUNT(*) FROM {ops}.ledger WHERE `at` >= TIMESTAMP '2026-01-01'") == [(1,)]


def test_wrong_balance_rolls_back_the_transaction(engine: Engine) -> None:
    merging = OnEngine(engine, contract())
    merging.land(rows=[upsert(1, 10)])
    batch = merging.opened()
    staged = merging.staged(batch)
    with (
        mock.patch.object(bigquery_merge_sql, "count_stale", return_value=["SELECT 5"]),
        pytest.raises(BalanceError, match=r"merged 1 .* stale 5"),
    ):
        merging.commit(batch, staged)
    assert (merging.live(), merging.warehouse.ledger(EVER)) == ({}, [])
    assert merging.query("SELECT epoch FROM {ops}.head__shop__orders") == [(0,)]
    assert merging.commit(batch, staged).merged == 1


def test_batch_over_budget_stays_pending(engine: Engine, bigquery: BigQuery) -> None:
    large, small = OnEngine(engine, contract()), OnEngine(engine, contract(stream="small"))
    large.land(rows=[upsert(i, 10) for i in range(2000)])
    small.land(rows=[upsert(1, 10)])
    thrifty = bigquery.warehouse(engine.schema("").rstrip("_"), max_bytes_billed=100_000)
    batch, other = large.opened(), small.opened()
    with pytest.raises(BudgetExceeded, match=r"shop\.orders would read [\d,]+ bytes, more than .* settings; it stays"):
        large.commit(batch, warehouse=thrifty)
    assert len(pending(large.lake, large.warehouse, large.contract)) == 1
    assert large.query("SELECT epoch FROM {ops}.head__shop__orders") == [(0,)]
    assert small.commit(other, warehouse=thrifty).merged == 1
    assert large.commit(batch).merged == 2000


def test_stream_budget_overrides_environments(engine: Engine, bigquery: BigQuery) -> None:
    thrifty = bigquery.warehouse(engine.schema("").rstrip("_"), max_bytes_billed=100_000)
    small, large = OnEngine(engine, contract(stream="small", max_bytes_billed=10)), OnEngine(engine, contract())
    small.land(rows=[upsert(1, 10)])
    large.contract = contract(max_bytes_billed=1 << 30)
    large.land(rows=[upsert(i, 10) for i in range(2000)])
    batch = small.opened()
    with pytest.raises(BudgetExceeded, match=r"shop\.small would read .* max_bytes_billed = 10 of sources/shop\.yaml"):
        small.commit(batch, warehouse=thrifty)
    assert large.commit(large.opened(), warehouse=thrifty).merged == 2000


def test_query_over_the_billing_limit_is_rejected(engine: Engine, bigquery: BigQuery) -> None:
    merging = OnEngine(engine, contract())
    merging.land(rows=[upsert(1, 10)])
    merging.merge()
    thrifty = bigquery.warehouse(engine.schema("").rstrip("_"), max_bytes_billed=1)
    with pytest.raises(BudgetExceeded, match=r"(?s)limit for bytes billed.*Raise warehouse\.max_bytes_billed"):
        thrifty.ledger(EVER)


def test_publication_killed_amid_copies_resumes(engine: Engine) -> None:
    engine.build("candidate_1", {"a": "SELECT 1 AS id", "b": "SELECT 1 AS id", "c": "SELECT 1 AS id"})
    engine.warehouse.publish("candidate_1")
    engine.build("candidate_2", {"a": "SELECT 2 AS id", "b": "SELECT 2 AS id", "c": "SELECT 2 AS id"})
    dying = warehouse_of(engine)
    copied: list[str] = []
    original = dying._marts._copy

    def copy(candidate: str, name: str) -> None:
        if copied:
            raise KeyboardInterrupt
        copied.append(name)
        original(candidate, name)

    with mock.patch.object(dying._marts, "_copy", copy), pytest.raises(KeyboardInterrupt):
        dying.publish("candidate_2")
    shown = "SELECT (SELECT id FROM {marts}.a), (SELECT id FROM {marts}.b), (SELECT id FROM {marts}.c)"
    assert (copied, engine.query(shown)) == (["a"], [(2, 1, 1)])
    assert engine.again().publish("candidate_2") == {"a": 1, "b": 1, "c": 1}
    assert engine.query(shown) == [(2, 2, 2)]
    steps = engine.query(
        "SELECT mart FROM {ops}.publications WHERE candidate = 'candidate_2' AND step = 'copied' ORDER BY mart"
    )
    assert steps == [("a",), ("b",), ("c",)]


def fill(engine: Engine, candidate: str, **tables: str) -> None:
    """Begin a candidate and make tables in it; what stands before AS is their layout."""
    engine.warehouse.begin_candidate(candidate, empty=True)
    for name, made in tables.items():
        kind, _, rest = made.partition(" ")
        engine.read(f"CREATE OR REPLACE {kind} {engine.schema(candidate)}.{name} {rest}")


def test_mart_of_another_layout_is_published(engine: Engine, bigquery: BigQuery, front: str) -> None:
    days = "SELECT DATE '2026-01-01' AS day, 1 AS id"
    fill(
        engine,
        "candidate_1",
        a=f"TABLE PARTITION BY day AS {days}",
        b=f"TABLE CLUSTER BY id AS {days}",
        c=f"TABLE AS {days}",
        d=f"VIEW AS {days}",
    )
    prefix = engine.schema("").rstrip("_")
    strict = bigquery.warehouse(prefix, endpoint=front, retry_s=3)
    assert strict.publish("candidate_1") == {"a": 1, "b": 1, "c": 1}
    more = f"{days} UNION ALL SELECT DATE '2026-01-02', 2"
    fill(
        engine,
        "candidate_2",
        a=f"TABLE CLUSTER BY id AS {more}",
        b=f"TABLE AS {more}",
        c=f"VIEW AS {more}",
        d=f"TABLE PARTITION BY DATE_TRUNC(day, MONTH) AS {more}",
    )
    marts, candidate = (f"{bigquery.project}.{engine.schema(name)}" for name in ("marts", "candidate_2"))
    with pytest.raises(WarehouseRefused, match="Cannot replace a table with a different partitioning spec"):
        strict._jobs.rows(f"CREATE OR REPLACE TABLE `{marts}.a` COPY `{candidate}.a`", step="test")
    run, created = strict._jobs.rows, list[str]()

    def dying(sql: str, *values: Any, **about: Any) -> Any:
        if sql.startswith("CREATE OR REPLACE TABLE") and not created:
            created.append(sql)
            raise KeyboardInterrupt
        return run(sql, *values, **about)

    with mock.patch.object(strict._jobs, "rows", dying), pytest.raises(KeyboardInterrupt):
        strict.publish("candidate_2")
    assert strict.publish("candidate_2") == {"a": 2, "b": 2, "d": 2}
    assert engine.query("SELECT COUNT(*) FROM {marts}.c") == [(2,)]
    strict.close()


def test_publication_without_a_plan_is_replaced(engine: Engine) -> None:
    engine.build("candidate_1", {"a": "SELECT 1 AS id"})
    dying = warehouse_of(engine)
    with mock.patch.object(dying._marts, "_plan", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        dying.publish("candidate_1")
    assert dying.marts() == {}
    assert engine.again().publish("candidate_1") == {"a": 1}


def test_one_of_two_candidates_of_a_base_wins(engine: Engine) -> None:
    for candidate in ("one", "other"):
        engine.build(candidate, {"a": f"SELECT '{candidate}' AS id"})
    results: dict[str, Exception | None] = {}

    def claim(candidate: str, warehouse: BigQueryWarehouse) -> None:
        try:
            results[candidate] = warehouse._marts._journal.claim(candidate, "")
        except Exception as error:
            results[candidate] = error

    again = [(name, engine.again()) for name in ("one", "other")]
    threads = [threading.Thread(target=claim, args=pair) for pair in again]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(result).__name__ for result in results.values()) == ["MartsMoved", "NoneType"]
    (won,) = [name for name, result in results.items() if result is None]
    for name, warehouse in again:
        if name == won:
            assert warehouse.publish(name) == {"a": 1}
        else:
            with pytest.raises(MartsMoved, match=f"begun from no marts, but {won} is published now"):
                warehouse.publish(name)
    assert engine.query("SELECT id FROM {marts}.a") == [(won,)]


def test_candidate_expires_and_marts_do_not(engine: Engine, bigquery: BigQuery) -> None:
    client = bigquery.client()
    for days, kept_ms in ((3.0, 3 * 24 * 3600 * 1000), (0.001, 3600 * 1000)):
        warehouse = bigquery.warehouse(engine.schema("").rstrip("_"), keep_candidates_days=days)
        warehouse.begin_candidate("candidate_1", empty=True)
        dataset = client.get_dataset(f"{bigquery.project}.{engine.schema('candidate_1')}")
        assert dataset.default_table_expiration_ms == kept_ms
    engine.build("candidate_1", {"a": "SELECT 1 AS id"})
    engine.warehouse.publish("candidate_1")
    assert client.get_dataset(f"{bigquery.project}.{engine.schema('marts')}").default_table_expiration_ms is None
    assert client.get_table(f"{bigquery.project}.{engine.schema('marts')}.a").expires is None
    client.close()


def test_jobs_are_labelled_and_staging_is_dropped(engine: Engine, bigquery: BigQuery) -> None:
    merging = OnEngine(engine, contract())
    merging.land(rows=[upsert(1, 10)])
    merging.merge()
    client = bigquery.client()
    ids = [job for job in client.list_jobs(max_results=50) if "shop-orders" in job.job_id]
    kinds = {job.labels.get("millrace_step"): job.labels for job in ids}
    assert kinds["commit"] == {"millrace_step": "commit", "millrace_source": "shop", "millrace_stream": "orders"}
    assert set(kinds) == {"commit", "load"}
    staging = client.get_dataset(f"{bigquery.project}.{engine.schema('staging')}")
    assert staging.default_table_expiration_ms == 3 * 24 * 3600 * 1000
    assert list(client.list_tables(staging)) == []
    client.close()
