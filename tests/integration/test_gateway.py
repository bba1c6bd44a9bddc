"""The gateway as a process over HTTP: only our push account gets in, and 204 means that Prefect has the event."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts import names
from local.identity.tokens import sign_oidc
from tests.integration.prefect_server import PrefectServer, prefect_server
from tests.servers import free_port, listens, process, server, wait_until

AUDIENCE, ACCOUNT = "https://gateway.test/push", "push@millrace-test.iam.gserviceaccount.com"
AT = "2026-01-01T12:00:00Z"
MANIFEST = "_manifests/shop/orders/20260101/c-1-000000000042.json"
MIB = 1 << 20


@dataclass
class Running:
    """A gateway, the Prefect it posts to and the identity it trusts."""

    url: str
    log: Path
    identity: Path
    prefect: PrefectServer

    def token(self, audience: str = AUDIENCE, account: str = ACCOUNT, age_s: float = 0) -> str:
        return sign_oidc(self.identity, audience, account, time.time() - age_s)

    def send(self, topic: str, body: bytes, token: str | None = None) -> int:
        """Push bytes; returns the status."""
        headers = {"Authorization": f"Bearer {self.token() if token is None else token}"} if token != "" else {}
        return httpx.post(f"{self.url}/push/{topic}", content=body, headers=headers, timeout=30).status_code

    def last_line(self) -> dict[str, Any]:
        """The newest line of its log: it is written before the answer."""
        return dict(json.loads(self.log.read_text().splitlines()[-1]))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("gateway")
    with (
        server("identity", folder / "identity") as certs,
        prefect_server(free_port()) as prefect,
        gateway(folder, prefect, certs) as url,
    ):
        yield Running(url, folder / "gateway.log", folder / "identity", prefect)


@contextmanager
def gateway(folder: Path, prefect: PrefectServer, certs_port: int) -> Iterator[str]:
    """A gateway process; gives its address."""
    port = free_port()
    env = {
        "MILLRACE_GATEWAY__AUDIENCE": AUDIENCE,
        "MILLRACE_GATEWAY__PUSH_ACCOUNT": ACCOUNT,
        "MILLRACE_GATEWAY__CERTS_URL": f"http://127.0.0.1:{certs_port}/certs",
        "PREFECT_API_URL": prefect.url,
        "PREFECT_API_KEY": "key",
    }
    with process("-m", "gateway", "--port", str(port), env=env, log=folder / "gateway.log"):
        wait_until(lambda: listens(port), "the gateway answers")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def fresh(running: Running) -> Iterator[Running]:
    """The gateway with a healthy Prefect that has no events yet."""
    running.prefect.events.clear()
    yield running
    running.prefect.answer = 204


def body(message_id: str = "1", data: object = None, **attributes: str) -> bytes:
    text = b"" if data is None else json.dumps(data).encode()
    message = {"messageId": message_id, "publishTime": AT, "attributes": attributes,
               "data": base64.b64encode(text).decode()}  # fmt: skip
    return json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()


def landed(message_id: str = "1", path: str = MANIFEST) -> bytes:
    return body(message_id, eventType="OBJECT_FINALIZE", objectId=path, objectGeneration="9")


BALANCE = {"rows_in": 1, "merged": 1, "superseded": 0, "stale": 0, "quarantined": 0}
PUSHES: dict[str, tuple[bytes, str, str, dict[str, Any]]] = {
    names.LAKE_LANDED: (landed(), "lake.landed", "millrace.stream.shop.orders", {"source": "shop", "job_id": 42}),
    names.WAREHOUSE_MERGED: (
        body(data={"source": "shop", "stream": "orders", "batch_id": "b", "balance": BALANCE}),
        "warehouse.merged", "millrace.warehouse", {"batch_id": "b", "source": "shop"},
    ),
    names.MARTS_PUBLISHED: (
        body(data={"run_id": "r", "marts": {"m": 1}, "batches": 2}),
        "marts.published", "millrace.warehouse", {"marts": {"m": 1}},
    ),
    names.INGEST_REQUESTED: (body(source="shop"), "source.requested", "millrace.source.shop", {"source": "shop"}),
    names.SECRET_ROTATED: (
        body(secretId="projects/1/secrets/slack", eventType="SECRET_VERSION_ADD"),
        "secret.rotated", "millrace.secret.slack", {"secret": "slack"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("topic", names.TOPICS)
def test_a_message_of_each_topic_is_an_event_at_prefect_before_the_answer(fresh: Running, topic: str) -> None:
    pushed, name, resource, payload = PUSHES[topic]
    assert fresh.send(topic, pushed) == 204
    (event,) = fresh.prefect.events
    assert (event["event"], event["resource"], event["occurred"]) == (name, {"prefect.resource.id": resource}, AT)
    assert event["payload"].items() >= {"v": 1, **payload}.items()
    assert fresh.prefect.headers[-1]["Authorization"] == "Bearer key"
    line = fresh.last_line()
    assert (line["event"], line["name"], line["status"]) == ("gateway.accepted", name, 204)


def test_the_same_message_twice_is_the_same_event(fresh: Running) -> None:
    for message_id in ("1", "1", "2"):
        assert fresh.send(names.LAKE_LANDED, landed(message_id)) == 204
    one, again, other = (event["id"] for event in fresh.prefect.events)
    assert one == again != other


def test_what_the_bucket_tells_beside_manifests_is_taken_and_starts_nothing(fresh: Running) -> None:
    assert fresh.send(names.LAKE_LANDED, landed(path="raw/shop/orders/sync_id=1/0.parquet")) == 204
    assert fresh.prefect.events == []
    assert fresh.last_line()["event"] == "gateway.ignored"


def forged(token: str) -> str:
    """The same claims under another signature."""
    head, claims, signature = token.split(".")
    return f"{head}.{claims}.{signature[::-1]}"


def unsigned(token: str) -> str:
    head = base64.urlsafe_b64encode(b'{"alg": "none", "typ": "JWT"}').decode().rstrip("=")
    return f"{head}.{token.split('.')[1]}."


@pytest.mark.parametrize(
    ("kind", "why"),
    [("missing", "no bearer token"), ("garbage", "segments"), ("forged", "signature"), ("unsigned", "algorithm"),
     ("stranger", "key id"), ("expired", "expired"), ("early", "early"), ("audience", "audience"),
     ("account", "account 'push@other.iam.gserviceaccount.com'")],
)  # fmt: skip
def test_whoever_is_not_the_push_account_is_turned_away(fresh: Running, tmp_path: Path, kind: str, why: str) -> None:
    token = {
        "missing": "",
        "garbage": "let-me-in",
        "forged": forged(fresh.token()),
        "unsigned": unsigned(fresh.token()),
        "stranger": sign_oidc(tmp_path, AUDIENCE, ACCOUNT, time.time()),
        "expired": fresh.token(age_s=2 * 3600),
        "early": fresh.token(age_s=-2 * 3600),
        "audience": fresh.token(audience="https://other.test/push"),
        "account": fresh.token(account="push@other.iam.gserviceaccount.com"),
    }[kind]
    assert fresh.send(names.LAKE_LANDED, landed(), token) == 401
    assert fresh.prefect.events == []
    line = fresh.last_line()
    assert (line["event"], line["status"]) == ("gateway.refused", 401)
    assert why in line["why"]
    assert fresh.send(names.LAKE_LANDED, landed()) == 204


def test_a_stranger_does_not_learn_which_topics_there_are(fresh: Running) -> None:
    assert fresh.send("no-such-topic", landed(), "") == 401


@pytest.mark.parametrize("size", [MIB, MIB + 1])
@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
def test_a_body_over_one_mebibyte_is_refused_however_it_is_sent(fresh: Running, size: int, chunked: bool) -> None:
    padded = landed() + b" " * (size - len(landed()))
    content = iter([padded[: size // 2], padded[size // 2 :]]) if chunked else padded
    headers = {"Authorization": f"Bearer {fresh.token()}"}
    answer = httpx.post(f"{fresh.url}/push/{names.LAKE_LANDED}", content=content, headers=headers, timeout=30)
    assert answer.status_code == (413 if size > MIB else 204)
    assert len(fresh.prefect.events) == (0 if size > MIB else 1)


@pytest.mark.parametrize(
    ("topic", "pushed", "why"),
    [
        (names.LAKE_LANDED, b"{", "the body is no Pub/Sub push: body: Invalid JSON"),
        (names.LAKE_LANDED, b"{}", "message: Field required"),
        ("lake-landet", landed(), "no topic 'lake-landet'; there are lake-landed, "),
        (names.LAKE_LANDED, landed(path="_manifests/readme.json"), "'_manifests/readme.json' is no manifest"),
        (names.LAKE_LANDED, landed(path="_manifests/a/b/20260101/c.json"), "c.json' is no manifest"),
        (names.LAKE_LANDED, body(objectId=MANIFEST), "attribute eventType is missing"),
        (names.SECRET_ROTATED, body(), "attribute secretId is missing"),
        (names.WAREHOUSE_MERGED, body(data={"source": "shop"}), "stream"),
        (names.WAREHOUSE_MERGED, body(data={}).replace(b'"data": "', b'"data": "%'), "not JSON in base64"),
    ],
)
def test_a_message_that_can_never_succeed_is_refused_with_its_reason(
    fresh: Running, topic: str, pushed: bytes, why: str
) -> None:
    assert fresh.send(topic, pushed) == 400
    assert fresh.prefect.events == []
    line = fresh.last_line()
    assert (line["event"], line["severity"], line["topic"]) == ("gateway.refused", "WARNING", topic)
    assert why in line["why"]


@pytest.mark.parametrize("answer", [500, 503, 429, 401])
def test_while_prefect_can_not_the_message_stays_with_pubsub(fresh: Running, answer: int) -> None:
    fresh.prefect.answer = answer
    assert fresh.send(names.LAKE_LANDED, landed()) == 503
    assert f"answered {answer}" in fresh.last_line()["why"]
    fresh.prefect.answer = 204
    assert fresh.send(names.LAKE_LANDED, landed()) == 204
    assert len(fresh.prefect.events) == 1


def test_an_event_that_prefect_calls_wrong_is_not_pushed_for_ever(fresh: Running) -> None:
    fresh.prefect.answer = 422
    assert fresh.send(names.LAKE_LANDED, landed()) == 400
    assert "refused lake.landed: 422" in fresh.last_line()["why"]


def test_a_prefect_that_is_gone_and_comes_back(fresh: Running) -> None:
    fresh.prefect.stop()
    try:
        assert fresh.send(names.LAKE_LANDED, landed()) == 503
        assert fresh.last_line()["event"] == "gateway.unavailable"
        assert httpx.get(f"{fresh.url}/healthz").status_code == 200
        assert httpx.get(f"{fresh.url}/readyz").status_code == 503
    finally:
        fresh.prefect.start()
    assert httpx.get(f"{fresh.url}/readyz").status_code == 200
    assert fresh.send(names.LAKE_LANDED, landed()) == 204
    assert len(fresh.prefect.events) == 1


def test_without_certificates_nobody_gets_in_until_they_are_there(running: Running, tmp_path: Path) -> None:
    certs = free_port()
    with gateway(tmp_path, running.prefect, certs) as url:
        other = Running(url, tmp_path / "gateway.log", running.identity, running.prefect)
        assert other.send(names.LAKE_LANDED, landed()) == 503
        assert "no certificates" in other.last_line()["why"]
        assert httpx.get(f"{url}/readyz").status_code == 503
        identity = tmp_path / "identity"
        with server("identity", identity, port=certs):
            other.identity = identity
            assert httpx.get(f"{url}/readyz").status_code == 200
            assert other.send(names.LAKE_LANDED, landed()) == 204


def test_no_other_method_and_no_other_path(fresh: Running) -> None:
    assert httpx.get(f"{fresh.url}/push/{names.LAKE_LANDED}").status_code == 405
    assert httpx.post(f"{fresh.url}/").status_code == 404


def test_a_gateway_that_is_not_told_where_prefect_is_says_so(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    with process("-m", "gateway", "--port", "1", env={"PREFECT_API_URL": ""}, log=log) as started:
        assert started.wait(30) == 1
    assert "SettingsError: PREFECT_API_URL is not set" in log.read_text()
