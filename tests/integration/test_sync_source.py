"""Starting and watching syncs: never a second one, whatever dies, is lost or refused; against a real local Airbyte."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from millrace.airbyte.client import AirbyteClient, AirbyteRefused
from millrace.contracts.source import parse_source
from millrace.domain.errors import ServiceUnavailable, SettingsError, SyncTimeout
from millrace.domain.sync import StartedSync
from millrace.lake.store import Lake
from tasks.ingest import cancel_sync, sync_source
from tests.support.airbyte_place import CREDENTIALS, AirbytePlace, airbyte_place
from tests.support.in_process import MemoryLake
from tests.support.mortal import Fate, Killed, MortalClient, MortalLake
from tests.support.proxy import Proxy
from tests.support.servers import wait_until

RUN = "run-1"
HANG, READ = "hang()", "record(1)\ncomplete()"
Open = Callable[[], AirbyteClient]


@pytest.fixture(scope="module")
def airbyte(tmp_path_factory: pytest.TempPathFactory, storage_port: int) -> Iterator[AirbytePlace]:
    with airbyte_place(tmp_path_factory.mktemp("airbyte"), storage_port) as place:
        yield place


@pytest.fixture
def proxy(airbyte: AirbytePlace) -> Iterator[Proxy]:
    """A proxy before Airbyte."""
    made = Proxy(airbyte.port)
    yield made
    made.close()


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., MemoryLake]:
    """Gives the tasks a lake, an Airbyte and a run."""

    def place(url: str, memory: Any = None, open_client: Open | None = None, timeout_s: float = 60) -> Any:
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

    return place


def started(airbyte: AirbytePlace, connection: str) -> StartedSync:
    found: StartedSync = sync_source.start_sync.fn(airbyte.name(connection))
    return found


def jobs(airbyte: AirbytePlace, connection: str) -> list[int]:
    return [job["jobId"] for job in airbyte.client.newest_jobs(connection)]


def test_a_run_that_dies_at_any_call_and_is_started_again_starts_one_sync(
    airbyte: AirbytePlace, lake: Lake, at: Callable[..., MemoryLake]
) -> None:
    whole = Fate()
    memory = MemoryLake()
    connection = airbyte.connect(lake, READ)
    at("", MortalLake(memory, whole), lambda: MortalClient(airbyte.url, CREDENTIALS, whole))
    started(airbyte, connection)
    assert whole.calls >= 7  # two looks into the lake, connection, jobs, request kept, jobs, start, started kept
    for n in range(2 * whole.calls):
        fate, memory = Fate(n), MemoryLake()
        connection = airbyte.connect(lake, READ)
        at("", MortalLake(memory, fate), lambda fate=fate: MortalClient(airbyte.url, CREDENTIALS, fate))
        with pytest.raises(Killed):
            started(airbyte, connection)
        for number in jobs(airbyte, connection):
            airbyte.ended(number)  # the worst case: what was started has ended before the run is tried again
        at(airbyte.url, memory)
        found = started(airbyte, connection)
        assert jobs(airbyte, connection) == [found.job_id], f"killed at {n}"
        assert not found.attached
        assert started(airbyte, connection) == found


def test_a_start_whose_answer_is_lost_finds_its_job(
    airbyte: AirbytePlace, lake: Lake, at: Callable[..., MemoryLake], proxy: Proxy
) -> None:
    connection = airbyte.connect(lake, READ)
    at(f"{proxy.url}/api/public/v1")
    with proxy.losing("POST .*/jobs"):
        found = started(airbyte, connection)
    assert jobs(airbyte, connection) == [found.job_id]


def test_a_start_whose_answer_and_the_look_after_it_are_lost_finds_its_job_when_tried_again(
    airbyte: AirbytePlace, lake: Lake, at: Callable[..., MemoryLake], proxy: Proxy
) -> None:
    connection = airbyte.connect(lake, READ)
    at(f"{proxy.url}/api/public/v1")
    with proxy.losing("POST .*/jobs|GET .*/jobs"), pytest.raises(ServiceUnavailable):
        started(airbyte, connection)  # fails at the first look already: nothing was asked for
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
        started(airbyte, connection)
    (job,) = jobs(airbyte, connection)
    airbyte.ended(job)
    at(airbyte.url, memory)
    assert started(airbyte, connection).job_id == job
    assert jobs(airbyte, connection) == [job]


def test_a_running_sync_is_attached_to(airbyte: AirbytePlace, lake: Lake, at: Callable[..., MemoryLake]) -> None:
    connection = airbyte.connect(lake, HANG)
    job = airbyte.client.start_job(connection)
    at(airbyte.url)
    found = started(airbyte, connection)
    assert (found.job_id, found.attached) == (job, True)
    cancel_sync.cancel_sync(None, SimpleNamespace(id=RUN), None)
    assert airbyte.client.job(job)["status"] == "running", "what someone else started is theirs"
    airbyte.client.cancel_job(job)


def test_a_cancelled_run_cancels_its_job(airbyte: AirbytePlace, lake: Lake, at: Callable[..., MemoryLake]) -> None:
    connection = airbyte.connect(lake, HANG)
    at(airbyte.url)
    job = started(airbyte, connection).job_id
    cancel_sync.cancel_sync(None, SimpleNamespace(id=RUN), None)
    assert airbyte.ended(job)["status"] == "cancelled"
    cancel_sync.cancel_sync(None, SimpleNamespace(id="another run"), None)


@pytest.mark.parametrize("status", ["inactive", "deprecated"])
def test_a_connection_that_can_not_sync_is_named_with_what_to_do(
    airbyte: AirbytePlace, lake: Lake, at: Callable[..., MemoryLake], status: str
) -> None:
    connection = airbyte.connect(lake)
    name = airbyte.name(connection)
    airbyte.client.call("PATCH", f"/connections/{connection}", json={"status": status})
    at(airbyte.url)
    with pytest.raises(AirbyteRefused, match=f"{name!r} is {status}.*python -m cli.deploy.connections apply {name}"):
        started(airbyte, connection)
    airbyte.client.call("DELETE", f"/connections/{connection}")
    with pytest.raises(SettingsError, match=f"no connection {name!r}"):
        sync_source.start_sync.fn(name)


def test_a_connection_made_anew_is_asked_anew(airbyte: AirbytePlace, lake: Lake, at: Callable[..., MemoryLake]) -> None:
    connection = airbyte.connect(lake, READ)
    name, memory = airbyte.name(connection), at(airbyte.url)
    request = sync_source._request(airbyte.client, name, "an older connection")
    sync_source.remember_requested(memory, RUN, request.model_copy(update={"after_job_id": 10**9}))
    found = sync_source.start_sync.fn(name)
    assert jobs(airbyte, connection) == [found.job_id]


def test_a_sync_past_its_deadline_is_cancelled_and_a_retry_does_not_move_the_deadline(
    airbyte: AirbytePlace, lake: Lake, at: Callable[..., MemoryLake]
) -> None:
    connection = airbyte.connect(lake, HANG)
    memory = at(airbyte.url, timeout_s=3600)
    found = started(airbyte, connection)
    late = found.model_copy(update={"at": datetime.now(UTC) - timedelta(hours=2)})
    with pytest.raises(SyncTimeout, match=f"sync {found.job_id} .* past its deadline and was cancelled"):
        sync_source.watch_sync.fn(late)
    assert airbyte.ended(found.job_id)["status"] == "cancelled"
    airbyte.rewrite(connection, READ)
    at(airbyte.url, memory)
    again = started(airbyte, connection)
    assert again.job_id > found.job_id
    ended = sync_source.watch_sync.fn(again)
    assert (ended.outcome, ended.rows) == ("succeeded", 1)


def test_a_status_that_is_unknown_is_not_the_end(
    airbyte: AirbytePlace, lake: Lake, at: Callable[..., MemoryLake], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = airbyte.connect(lake, READ)
    at(airbyte.url)
    found = started(airbyte, connection)
    airbyte.ended(found.job_id)
    told, real = iter(["incomplete", "queued", "something new"]), AirbyteClient.job

    def job(client: AirbyteClient, number: int) -> dict[str, Any]:
        answer = real(client, number)
        return answer | {"status": next(told, answer["status"])}

    monkeypatch.setattr(AirbyteClient, "job", job)
    assert sync_source.watch_sync.fn(found).outcome == "succeeded"
    assert next(told, None) is None


def test_an_address_that_answers_a_page_is_no_api(airbyte: AirbytePlace) -> None:
    with AirbyteClient(f"http://127.0.0.1:{airbyte.port}", *CREDENTIALS) as client:
        client._token, client._renew_at = "x", float("inf")  # a page gives no token either
        with pytest.raises(AirbyteRefused, match="GET / answered 200 with no JSON object"):
            client.call("GET", "/")


def test_a_running_job_tells_what_it_has_brought_into_the_lake(airbyte: AirbytePlace, lake: Lake) -> None:
    connection = airbyte.connect(lake, "for id in range(6_000):\n    record(id)\nstate(1)\nhang()")
    job = airbyte.client.start_job(connection)
    airbyte.waiting(connection)
    wait_until(lambda: airbyte.client.job(job)["rowsSynced"] == 6_000, "the rows before the state are told")
    running = airbyte.client.job(job)
    assert running["status"] == "running"
    assert running["bytesSynced"] > 0
    airbyte.client.cancel_job(job)
