"""Starting and watching syncs against a real local Airbyte: never a second one, despite crashes and lost requests."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from millrace.airbyte.client import AirbyteClient
from millrace.airbyte.job import Job
from millrace.contracts.source import parse_source
from millrace.domain.errors import AirbyteRefused, ServiceUnavailable, SettingsError, SyncTimeout
from millrace.domain.sync import StartedSync
from millrace.lake.store import Lake
from tasks.ingest import cancel_sync, sync_source
from tests.support.in_process import MemoryLake
from tests.support.mortal import Fate, Killed, MortalClient, MortalLake
from tests.support.proxy import Proxy
from tests.support.scripted_airbyte import CREDENTIALS, ScriptedAirbyte, scripted_airbyte
from tests.support.servers import wait_until

RUN = "run-1"
HANG, READ = "hang()", "record(1)\ncomplete()"
Open = Callable[[], AirbyteClient]


@pytest.fixture(scope="module")
def airbyte(tmp_path_factory: pytest.TempPathFactory, storage_port: int) -> Iterator[ScriptedAirbyte]:
    with scripted_airbyte(tmp_path_factory.mktemp("airbyte"), storage_port) as scripted:
        yield scripted


@pytest.fixture
def proxy(airbyte: ScriptedAirbyte) -> Iterator[Proxy]:
    """Yield a proxy in front of Airbyte."""
    running = Proxy(airbyte.port)
    yield running
    running.close()


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., MemoryLake]:
    """Return a function that gives the tasks a lake, an Airbyte and a run."""

    def use(url: str, memory: Any = None, open_client: Open | None = None, timeout_s: float = 60) -> Any:
        memory = memory or MemoryLake()
        block = SimpleNamespace(
            open=open_client or (lambda: AirbyteClient(url, *CREDENTIALS)), poll_s=0.05, sync_timeout_s=timeout_s
        )
        source = parse_source("source: shop\nconnector: {image: i, version: '1'}\nstreams: {}\n", "shop.yaml")
        for module in (sync_source, cancel_sync):
            monkeypatch.setattr(module, "open_lake", lambda: memory)
            monkeypatch.setattr(module, "airbyte_block", lambda: block)
        monkeypatch.setattr(sync_source, "run_id", lambda: RUN)
        monkeypatch.setattr(sync_source, "source_contract", lambda name: source.model_copy(update={"source": name}))
        monkeypatch.setattr(sync_source, "SyncProgress", lambda *_: SimpleNamespace(show=print, end=print))
        return memory

    return use


def start_sync(airbyte: ScriptedAirbyte, connection: str) -> StartedSync:
    sync: StartedSync = sync_source.start_sync.fn(airbyte.name(connection))
    return sync


def jobs(airbyte: ScriptedAirbyte, connection: str) -> list[int]:
    return [job.id for job in airbyte.client.newest_jobs(connection)]


def test_restarted_run_starts_one_sync(airbyte: ScriptedAirbyte, lake: Lake, at: Callable[..., MemoryLake]) -> None:
    whole = Fate()
    memory = MemoryLake()
    connection = airbyte.connect(lake, READ)
    at("", MortalLake(memory, whole), lambda: MortalClient(airbyte.url, CREDENTIALS, whole))
    start_sync(airbyte, connection)
    assert whole.calls >= 7  # two reads of the lake, connection, jobs, request written, jobs, start, started written
    for n in range(2 * whole.calls):
        fate, memory = Fate(n), MemoryLake()
        connection = airbyte.connect(lake, READ)
        at("", MortalLake(memory, fate), lambda fate=fate: MortalClient(airbyte.url, CREDENTIALS, fate))
        with pytest.raises(Killed):
            start_sync(airbyte, connection)
        for number in jobs(airbyte, connection):
            airbyte.ended(number)  # the worst case: the started job has ended before the run is retried
        at(airbyte.url, memory)
        sync = start_sync(airbyte, connection)
        assert jobs(airbyte, connection) == [sync.job_id], f"killed at {n}"
        assert not sync.attached
        assert start_sync(airbyte, connection) == sync


def test_start_with_lost_answer_finds_its_job(
    airbyte: ScriptedAirbyte, lake: Lake, at: Callable[..., MemoryLake], proxy: Proxy
) -> None:
    connection = airbyte.connect(lake, READ)
    at(f"{proxy.url}/api/public/v1")
    with proxy.losing("POST .*/jobs"):
        sync = start_sync(airbyte, connection)
    assert jobs(airbyte, connection) == [sync.job_id]


def test_retry_after_lost_answers_finds_its_job(
    airbyte: ScriptedAirbyte, lake: Lake, at: Callable[..., MemoryLake], proxy: Proxy
) -> None:
    connection = airbyte.connect(lake, READ)
    at(f"{proxy.url}/api/public/v1")
    with proxy.losing("POST .*/jobs|GET .*/jobs"), pytest.raises(ServiceUnavailable):
        start_sync(airbyte, connection)  # fails at the first read already: no sync was requested
    assert jobs(airbyte, connection) == []
    client = AirbyteClient(f"{proxy.url}/api/public/v1", *CREDENTIALS)
    count = itertools.count()
    listed, client.newest_jobs = (
        client.newest_jobs,
        lambda *a: (  # type: ignore[method-assign]
            listed(*a) if next(count) < 2 else client.call("GET", "/lost")
        ),
    )
    memory = at("", open_client=lambda: client)
    with proxy.losing("POST .*/jobs|GET .*/lost"), pytest.raises(ServiceUnavailable):
        start_sync(airbyte, connection)
    (job,) = jobs(airbyte, connection)
    airbyte.ended(job)
    at(airbyte.url, memory)
    assert start_sync(airbyte, connection).job_id == job
    assert jobs(airbyte, connection) == [job]


def test_run_attaches_to_a_running_sync(airbyte: ScriptedAirbyte, lake: Lake, at: Callable[..., MemoryLake]) -> None:
    connection = airbyte.connect(lake, HANG)
    job = airbyte.client.start_job(connection)
    at(airbyte.url)
    sync = start_sync(airbyte, connection)
    assert (sync.job_id, sync.attached) == (job, True)
    cancel_sync.cancel_sync(None, SimpleNamespace(id=RUN), None)
    assert airbyte.client.job(job).status == "running", "a sync of another run is not ours"
    airbyte.client.cancel_job(job)


def test_cancelled_run_cancels_its_job(airbyte: ScriptedAirbyte, lake: Lake, at: Callable[..., MemoryLake]) -> None:
    connection = airbyte.connect(lake, HANG)
    at(airbyte.url)
    job = start_sync(airbyte, connection).job_id
    cancel_sync.cancel_sync(None, SimpleNamespace(id=RUN), None)
    assert airbyte.ended(job).status == "cancelled"
    cancel_sync.cancel_sync(None, SimpleNamespace(id="another run"), None)


@pytest.mark.parametrize("status", ["inactive", "deprecated"])
def test_unusable_connection_is_named_with_a_fix(
    airbyte: ScriptedAirbyte, lake: Lake, at: Callable[..., MemoryLake], status: str
) -> None:
    connection = airbyte.connect(lake)
    name = airbyte.name(connection)
    airbyte.client.call("PATCH", f"/connections/{connection}", json={"status": status})
    at(airbyte.url)
    with pytest.raises(AirbyteRefused, match=f"{name!r} is {status}.*millrace connections apply {name}"):
        start_sync(airbyte, connection)
    airbyte.client.call("DELETE", f"/connections/{connection}")
    with pytest.raises(SettingsError, match=f"no connection {name!r}"):
        sync_source.start_sync.fn(name)


def test_recreated_connection_is_looked_up_again(
    airbyte: ScriptedAirbyte, lake: Lake, at: Callable[..., MemoryLake]
) -> None:
    connection = airbyte.connect(lake, READ)
    name, memory = airbyte.name(connection), at(airbyte.url)
    request = sync_source._request(airbyte.client, name, "an older connection")
    sync_source.remember_requested(memory, RUN, request.model_copy(update={"after_job_id": 10**9}))
    sync = sync_source.start_sync.fn(name)
    assert jobs(airbyte, connection) == [sync.job_id]


def test_overdue_sync_is_cancelled_after_retries(
    airbyte: ScriptedAirbyte, lake: Lake, at: Callable[..., MemoryLake]
) -> None:
    connection = airbyte.connect(lake, HANG)
    memory = at(airbyte.url, timeout_s=3600)
    sync = start_sync(airbyte, connection)
    late = sync.model_copy(update={"at": datetime.now(UTC) - timedelta(hours=2)})
    with pytest.raises(SyncTimeout, match=f"sync {sync.job_id} .* past its deadline and was cancelled"):
        sync_source.watch_sync.fn(late)
    assert airbyte.ended(sync.job_id).status == "cancelled"
    airbyte.rewrite(connection, READ)
    at(airbyte.url, memory)
    again = start_sync(airbyte, connection)
    assert again.job_id > sync.job_id
    ended = sync_source.watch_sync.fn(again)
    assert (ended.outcome, ended.rows) == ("succeeded", 1)


def test_unknown_status_is_not_final(
    airbyte: ScriptedAirbyte, lake: Lake, at: Callable[..., MemoryLake], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = airbyte.connect(lake, READ)
    at(airbyte.url)
    sync = start_sync(airbyte, connection)
    airbyte.ended(sync.job_id)
    statuses, real = iter(["incomplete", "queued", "something new"]), AirbyteClient.job

    def job(client: AirbyteClient, number: int) -> Job:
        answer = real(client, number)
        return answer.model_copy(update={"status": next(statuses, answer.status)})

    monkeypatch.setattr(AirbyteClient, "job", job)
    assert sync_source.watch_sync.fn(sync).outcome == "succeeded"
    assert next(statuses, None) is None


def test_address_of_a_web_page_is_rejected(airbyte: ScriptedAirbyte) -> None:
    with AirbyteClient(f"http://127.0.0.1:{airbyte.port}", *CREDENTIALS) as client:
        client._token, client._renew_at = "x", float("inf")  # a page gives no token either
        with pytest.raises(AirbyteRefused, match="GET / answered 200 with no JSON object"):
            client.call("GET", "/")


def test_running_job_reports_its_progress(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, "for id in range(6_000):\n    record(id)\nstate(1)\nhang()")
    job = airbyte.client.start_job(connection)
    airbyte.waiting(connection)
    wait_until(lambda: airbyte.client.job(job).rows == 6_000, "the rows before the state are reported")
    running = airbyte.client.job(job)
    assert running.status == "running"
    assert running.bytes > 0
    airbyte.client.cancel_job(job)
