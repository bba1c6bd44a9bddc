"""The local Airbyte's public API, through the platform's own client and plain HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace.airbyte.client import AirbyteClient
from millrace.domain.errors import AirbyteRefused, SyncRunning
from millrace.lake.store import Lake
from tests.support.connections import apply
from tests.support.scripted_airbyte import CREDENTIALS, ScriptedAirbyte, airbyte_server, scripted_airbyte
from tests.support.servers import wait_until
from tests.support.shop import SHOP

HANG = "hang()"


@pytest.fixture(scope="module")
def airbyte(tmp_path_factory: pytest.TempPathFactory, storage_port: int) -> Iterator[ScriptedAirbyte]:
    with scripted_airbyte(tmp_path_factory.mktemp("airbyte"), storage_port) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def http(airbyte: ScriptedAirbyte) -> Iterator[httpx.Client]:
    """Yield a plain HTTP client with a valid token."""
    with httpx.Client(base_url=airbyte.url, headers=authorisation(airbyte.url)) as client:
        yield client


def authorisation(url: str) -> dict[str, str]:
    body = dict(zip(("client_id", "client_secret"), CREDENTIALS, strict=True))
    answer = httpx.post(f"{url}/applications/token", json=body)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.mark.parametrize("token", [{}, {"Authorization": "Bearer made-up"}])
@pytest.mark.parametrize("path", ["/workspaces", "/sources", "/connections", "/jobs", "/jobs/1"])
def test_request_without_token_gets_nothing(airbyte: ScriptedAirbyte, path: str, token: dict[str, str]) -> None:
    answer = httpx.get(airbyte.url + path, headers=token)
    assert answer.status_code == 401
    assert answer.json()["type"] == "error:unauthorized"


def test_wrong_client_secret_gets_no_token(airbyte: ScriptedAirbyte) -> None:
    client_id, _ = CREDENTIALS
    with (
        AirbyteClient(airbyte.url, client_id, "wrong") as client,
        pytest.raises(AirbyteRefused, match=r"rejected the client id and secret \(401\)"),
    ):
        client.call("GET", "/workspaces")


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory, storage_port: int) -> Iterator[str]:
    """Yield the URL of an Airbyte whose tokens live for half a second and that reads no secrets."""
    folder = tmp_path_factory.mktemp("forgetful")
    with airbyte_server(folder, storage_port, 1, "--token-s", "0.5") as port:
        yield f"http://127.0.0.1:{port}/api/public/v1"


def test_client_renews_an_expired_token(forgetful: str) -> None:
    with AirbyteClient(forgetful, *CREDENTIALS, now=lambda: 0.0) as client:  # no token ever expires by its clock
        client.call("GET", "/workspaces")
        other = authorisation(forgetful)  # younger than the client's token
        wait_until(lambda: httpx.get(f"{forgetful}/workspaces", headers=other).is_error, "the tokens have expired")
        assert client.call("GET", "/workspaces")["data"]


def test_objects_can_be_changed_and_deleted(http: httpx.Client, lake: Lake) -> None:
    workspace = http.get("/workspaces").json()["data"][0]["workspaceId"]
    body = {"name": "x", "dockerRepository": "some/image", "dockerImageTag": "1"}
    definition = http.post(f"/workspaces/{workspace}/definitions/sources", json=body).json()["id"]
    source = http.post("/sources", json={"name": "s", "definitionId": definition, "configuration": {"a": 1}}).json()
    target = http.post("/destinations", json={"name": "d", "configuration": {}}).json()
    ids = {"sourceId": source["sourceId"], "destinationId": target["destinationId"]}
    connection = http.post("/connections", json={"name": "c", **ids}).json()
    assert connection["status"] == "active"
    path = f"/connections/{connection['connectionId']}"
    changed = http.patch(path, json={"status": "inactive", "connectionId": "another"}).json()
    assert changed == connection | {"status": "inactive"}
    assert http.get(path).json() == changed
    for item in (path, f"/sources/{ids['sourceId']}", f"/destinations/{ids['destinationId']}"):
        assert http.delete(item).status_code == 204
        assert http.get(item).status_code == http.delete(item).status_code == 404


def test_listings_come_in_pages(http: httpx.Client, airbyte: ScriptedAirbyte) -> None:
    for number in range(5):
        http.post("/destinations", json={"name": f"page {number}", "configuration": {}})
    everything = [item["name"] for item in airbyte.client.pages("/destinations", limit=2)]
    assert [name for name in everything if name.startswith("page")] == [f"page {n}" for n in range(5)]
    first = http.get("/destinations", params={"limit": 2}).json()["data"]
    assert [item["name"] for item in first] == everything[:2]


def test_reapplying_a_source_patches_only_changes(airbyte: ScriptedAirbyte) -> None:
    assert apply(airbyte.client, SHOP, "gs://one") == "create"
    connection = airbyte.client.connection("shop")
    assert apply(airbyte.client, SHOP, "gs://one") == "keep"
    fewer = SHOP.model_copy(update={"streams": {"orders": SHOP.stream("orders")}})
    assert apply(airbyte.client, fewer, "gs://one") == "update"
    after = airbyte.client.connection("shop")
    assert [s["name"] for s in after["configurations"]["streams"]] == ["orders"]
    assert after["connectionId"] == connection["connectionId"]
    assert apply(airbyte.client, fewer, "gs://two") == "update"
    assert apply(airbyte.client, fewer, "gs://two") == "keep"


def test_airbyte_gets_only_references_to_secrets(airbyte: ScriptedAirbyte) -> None:
    apply(airbyte.client, SHOP, "gs://one")
    (source,) = [s for s in airbyte.client.pages("/sources") if s["name"] == "shop"]
    assert source["configuration"]["password"] == "secret_coordinate::shop-password"


def test_second_sync_of_a_connection_is_rejected(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, HANG)
    job = airbyte.client.start_job(connection)
    with pytest.raises(SyncRunning, match=f"already running for: {connection}"):
        airbyte.client.start_job(connection)
    (running,) = airbyte.client.newest_jobs(connection)  # the state that a caller attaches to
    assert (running.id, running.status) == (job, "running")
    airbyte.client.cancel_job(job)


def test_cancelled_job_stays_cancelled(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, HANG)
    job = airbyte.client.start_job(connection)
    airbyte.waiting(connection)
    airbyte.client.cancel_job(job)
    assert airbyte.ended(job).status == "cancelled"
    airbyte.client.cancel_job(job)  # Airbyte rejects it; for the client there is nothing left to do
    with pytest.raises(SyncRunning, match=f"job {job} has ended"):
        airbyte.client.call("DELETE", f"/jobs/{job}")
    airbyte.rewrite(connection, "complete()")
    assert airbyte.run(connection).status == "succeeded"


def test_jobs_are_filtered_and_newest_first(airbyte: ScriptedAirbyte, http: httpx.Client, lake: Lake) -> None:
    connection, other = airbyte.connect(lake), airbyte.connect(lake)
    airbyte.rewrite(connection, "error('no')")
    failed = airbyte.run(connection).id
    airbyte.rewrite(connection, "complete()")
    finished_job = airbyte.run(connection).id
    airbyte.run(other)

    def list_jobs(**query: str) -> list[int]:
        answer = http.get("/jobs", params={"connectionId": connection} | query).json()
        return [job["jobId"] for job in answer["data"]]

    assert list_jobs() == list_jobs(orderBy="createdAt|DESC") == [finished_job, failed]
    assert list_jobs(orderBy="createdAt|ASC") == list_jobs(orderBy="updatedAt|ASC") == [failed, finished_job]
    assert list_jobs(limit="1", offset="1") == [failed]
    assert list_jobs(status="failed") == [failed]
    assert list_jobs(jobType="sync") == [finished_job, failed]
    assert list_jobs(jobType="refresh") == []
    assert http.get("/jobs", params={"jobType": "load"}).status_code == 422
    assert list_jobs(status="running") == []
    assert list_jobs(updatedAtStart="2026-01-01T00:00:00+00:00") == [finished_job, failed]
    assert list_jobs(updatedAtStart="2999-01-01T00:00:00Z") == []


def test_refreshes_are_listed_among_the_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {1: "sync", 2: "refresh", 3: "sync", 4: "reset", 5: "refresh", 6: "clear"}

    def call(method: str, path: str, *, params: dict[str, Any]) -> dict[str, Any]:
        assert (method, path) == ("GET", "/jobs")
        listed = [n for n in sorted(kinds, reverse=True) if kinds[n] == params["jobType"]][params["offset"] :]
        job = {"status": "succeeded", "createdAt": "2026-01-01T00:00:00Z"}
        return {"data": [job | {"jobId": n, "jobType": kinds[n]} for n in listed[: params["limit"]]]}

    client = AirbyteClient("http://airbyte.test", "id", "secret")
    monkeypatch.setattr(client, "call", call)
    assert [job.id for job in client.jobs_of("c", limit=1)] == [5, 3, 2, 1]
    assert [job.id for job in client.newest_jobs("c", limit=2)] == [5, 3]


def test_inactive_connection_starts_no_job(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake)
    airbyte.client.call("PATCH", f"/connections/{connection}", json={"status": "inactive"})
    with pytest.raises(AirbyteRefused, match=r"answered 422: .* is inactive"):
        airbyte.client.start_job(connection)
    assert airbyte.client.newest_jobs(connection) == []


MALFORMED = {
    "no JSON": ("POST", "/sources", "{", 400),
    "no text": ("POST", "/sources", b"\xff\xfe", 400),
    "a list": ("POST", "/sources", "[]", 400),
    "depth": ("POST", "/sources", "[" * 100_000, 400),
    "not a number": ("POST", "/destinations", '{"name": "x", "a": NaN}', 400),
    "half a character": ("POST", "/destinations", '{"name": "\\ud800"}', 400),
    "no name": ("POST", "/destinations", "{}", 400),
    "an invalid name": ("POST", "/destinations", '{"name": 1}', 400),
    "configuration": ("POST", "/destinations", '{"name": "x", "configuration": "y"}', 400),
    "no definition": ("POST", "/sources", '{"name": "x"}', 400),
    "unknown definition": ("POST", "/sources", '{"name": "x", "definitionId": "y"}', 404),
    "unknown source": ("POST", "/connections", '{"name": "x", "sourceId": "y", "destinationId": "z"}', 404),
    "no connection": ("POST", "/jobs", "{}", 400),
    "an invalid connection": ("POST", "/jobs", '{"connectionId": ["x"]}', 400),
    "unknown connection": ("POST", "/jobs", '{"connectionId": "x"}', 404),
    "no body": ("POST", "/jobs", "", 400),
    "unknown job": ("GET", "/jobs/987654", "", 404),
    "unknown job, cancelled": ("DELETE", "/jobs/987654", "", 404),
    "no job id": ("GET", "/jobs/abc", "", 400),
    "long job id": ("GET", f"/jobs/{'9' * 40}", "", 400),
    "limit": ("GET", "/jobs?limit=abc", "", 400),
    "negative limit": ("GET", "/sources?limit=-1", "", 400),
    "offset": ("GET", "/connections?offset=1.5", "", 400),
    "order": ("GET", "/jobs?orderBy=name", "", 400),
    "instant": ("GET", "/jobs?updatedAtStart=yesterday", "", 400),
    "unknown workspace": ("GET", "/workspaces/x/definitions/sources", "", 404),
    "unknown path": ("GET", "/nothing", "", 404),
    "method": ("PUT", "/jobs", "", 405),
    "token": ("POST", "/applications/token", "[1]", 400),
}


@pytest.mark.parametrize(("method", "path", "body", "status"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_request_is_rejected_in_words(
    http: httpx.Client, method: str, path: str, body: str | bytes, status: int
) -> None:
    answer = http.request(method, path, content=body)
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "paused"},
        {"configurations": {"streams": "all"}},
        {"configurations": {"streams": [{}]}},
        {"configurations": {"streams": [{"name": "x", "syncMode": "some"}]}},
        {"configurations": None},
    ],
)
def test_connection_that_cannot_run_is_rejected(
    airbyte: ScriptedAirbyte, http: httpx.Client, lake: Lake, change: dict[str, object]
) -> None:
    connection = airbyte.connect(lake)
    assert http.patch(f"/connections/{connection}", json=change).status_code == 400
    assert airbyte.client.call("GET", f"/connections/{connection}")["status"] == "active"


def test_jobs_page_runs_no_script(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, "error('<script>alert(1)</script>')")
    airbyte.run(connection)
    page = httpx.get(f"http://127.0.0.1:{airbyte.port}/").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page


def test_client_fails_when_new_token_is_rejected(tmp_path: Path, storage_port: int) -> None:
    with airbyte_server(tmp_path, storage_port, 1, "--token-s", "0") as port:
        url = f"http://127.0.0.1:{port}/api/public/v1"
        with AirbyteClient(url, *CREDENTIALS) as client, pytest.raises(AirbyteRefused, match="answered 401"):
            client.call("GET", "/workspaces")
