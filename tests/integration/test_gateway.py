"""The gateway as a process over HTTP: only the push account is admitted, and 204 means that Prefect has the event."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.servers.identity.tokens import sign_oidc
from millrace.domain import names
from millrace.events.message import Incoming
from millrace.gateway.prefect_events import READY_FOR_S
from millrace.gateway.requested_work import WORK_OF_EVENT
from tests.support.gateway_process import Running, gateway
from tests.support.prefect_server import prefect_server
from tests.support.pushes import CASES, FORMS, MANIFEST, expected, landed, message, wrapped
from tests.support.servers import free_port, process, server, wait_until

MIB = 1 << 20


def certs_at(port: int) -> str:
    return f"http://127.0.0.1:{port}/certs"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("gateway")
    with (
        server("identity", folder / "identity") as certs,
        prefect_server(free_port()) as prefect,
        gateway(folder, prefect, certs_at(certs), folder / "identity") as gateway_running,
    ):
        yield gateway_running


@pytest.fixture
def fresh(running: Running) -> Iterator[Running]:
    """Return the gateway with a healthy Prefect that has no events yet."""
    running.prefect.events.clear()
    yield running
    running.prefect.answer, running.prefect.database = 204, True
    wait_until(lambda: running.send(names.LAKE_LANDED, landed()) == 204, "the gateway takes events again")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("topic", "pushed", "name", "resource", "payload", "related"), CASES)
def test_message_is_an_event_before_its_answer(
    fresh: Running,
    form: str,
    topic: str,
    pushed: Incoming,
    name: str,
    resource: str,
    payload: dict[str, Any],
    related: list[str],
) -> None:
    assert fresh.send(topic, pushed, form=form) == 204
    (event,) = fresh.prefect.events
    mark = event["resource"].get(names.RUN_LABEL)
    assert mark in ((None,) if name not in WORK_OF_EVENT else ("needed", "active"))
    if mark:
        event["resource"][names.RUN_LABEL] = "needed"
    assert event == {"id": event["id"], **expected(name, resource, payload, related)}
    assert fresh.prefect.headers[-1]["Authorization"] == "Bearer key"
    line = fresh.last_line()
    assert (line["event"], line["name"], line["status"], line["severity"]) == ("gateway.accepted", name, 204, "INFO")


def test_same_message_twice_is_the_same_event(fresh: Running) -> None:
    for message_id in ("1", "1", "2"):
        assert fresh.send(names.LAKE_LANDED, landed(message_id=message_id)) == 204
    first, repeated, other = (event["id"] for event in fresh.prefect.events)
    assert first == repeated != other


def test_other_bucket_messages_start_nothing(fresh: Running) -> None:
    assert fresh.send(names.LAKE_LANDED, landed("raw/shop/orders/sync_id=1/0.parquet")) == 204
    assert fresh.prefect.events == []
    assert fresh.last_line()["event"] == "gateway.ignored"


def forged(token: str) -> str:
    """Return the same claims under another signature."""
    head, claims, signature = token.split(".")
    return f"{head}.{claims}.{signature[::-1]}"


def headed(token: str, **header: object) -> str:
    """Return the same claims under another header."""
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    return f"{head}.{token.split('.')[1]}.{token.split('.')[2]}"


def token_of(kind: str, to: Running, folder: Path) -> str:
    """Return a token that must be rejected."""
    tokens: dict[str, Callable[[], str]] = {
        "missing": lambda: "",
        "garbage": lambda: "let-me-in",
        "no objects": lambda: "W10.W10.W10",
        "long": lambda: "x" * 9000,
        "forged": lambda: forged(to.token()),
        "unsigned": lambda: headed(to.token(), alg="none", typ="JWT"),
        "symmetric": lambda: headed(to.token(), alg="HS256", kid="x"),
        "odd key": lambda: headed(to.token(), alg="RS256", kid=["x"]),
        "stranger": lambda: sign_oidc(folder, "https://gateway.test/push", "push@millrace-test.iam", time.time()),
        "expired": lambda: to.token(age_s=2 * 3600),
        "early": lambda: to.token(age_s=-2 * 3600),
        "endless": lambda: to.token_with(exp=None),
        "issuer": lambda: to.token_with(iss="https://accounts.example.com"),
        "audience": lambda: to.token(audience="https://other.test/push"),
        "account": lambda: to.token(account="push@other.iam.gserviceaccount.com"),
        "unverified": lambda: to.token_with(email_verified=False),
        "nearly verified": lambda: to.token_with(email_verified="true"),
    }
    return tokens[kind]()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "no bearer token"),
        ("garbage", "not a JSON web token"),
        ("no objects", "not a JSON web token"),
        ("long", "a token of 9000"),
        ("forged", "signature"),
        ("unsigned", "algorithm 'none'"),
        ("symmetric", "algorithm 'HS256'"),
        ("odd key", "key id ['x']"),
        ("stranger", "key id"),
        ("expired", "expired"),
        ("early", "early"),
        ("endless", "exp"),
        ("issuer", "issuer 'https://accounts.example.com'"),
        ("audience", "audience"),
        ("account", "account 'push@other.iam.gserviceaccount.com'"),
        ("unverified", "verified: False"),
        ("nearly verified", "verified: 'true'"),
    ],
)
def test_other_caller_than_push_account_is_401(fresh: Running, tmp_path: Path, kind: str, reason: str) -> None:
    assert fresh.send(names.LAKE_LANDED, landed(), token_of(kind, fresh, tmp_path)) == 401
    assert fresh.prefect.events == []
    line = fresh.last_line()
    assert (line["event"], line["status"], line["remote"]) == ("gateway.unauthenticated", 401, "127.0.0.1")
    assert reason in line["why"]
    assert "let-me-in" not in line["why"]
    assert fresh.send(names.LAKE_LANDED, landed()) == 204


def test_strangers_cannot_learn_the_topics(fresh: Running) -> None:
    assert fresh.send("no-such-topic", landed(), "") == 401


@pytest.mark.parametrize("size", [MIB, MIB + 1])
@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
def test_body_over_one_mebibyte_is_rejected(fresh: Running, size: int, chunked: bool) -> None:
    _, body = wrapped(landed())
    padded = body + b" " * (size - len(body))
    content = iter([padded[: size // 2], padded[size // 2 :]]) if chunked else padded
    headers = {"Authorization": f"Bearer {fresh.token()}"}
    answer = httpx.post(f"{fresh.url}/push/{names.LAKE_LANDED}", content=content, headers=headers, timeout=30)
    assert answer.status_code == (413 if size > MIB else 204)
    assert len(fresh.prefect.events) == (0 if size > MIB else 1)


@pytest.mark.parametrize(
    ("topic", "pushed", "reason"),
    [
        (names.LAKE_LANDED, b"{", "are those of a Pub/Sub push (an unwrapped one needs write-metadata): body: Invalid"),
        (names.LAKE_LANDED, b"{}", "message: Field required"),
        ("lake-landet", landed(), "no topic 'lake-landet'; there are lake-landed, "),
        (names.LAKE_LANDED, landed("_manifests/readme.json"), "'_manifests/readme.json' is not a manifest"),
        (names.LAKE_LANDED, message(objectId=MANIFEST), "attribute eventType is missing"),
        (names.SECRET_ROTATED, message(), "attribute secretId is missing"),
        (names.WAREHOUSE_MERGED, message({"source": "shop"}), "stream"),
        (names.WAREHOUSE_MERGED, message({"source": "shop"}).model_copy(update={"data": b"{"}), "is not JSON"),
        (names.MARTS_PUBLISHED, message({"run_id": "\x00", "marts": {}, "batches": 1}), "zero character"),
    ],
)
def test_invalid_message_is_rejected_with_reason(
    fresh: Running, topic: str, pushed: Incoming | bytes, reason: str
) -> None:
    assert fresh.send(topic, pushed) == 400
    assert fresh.prefect.events == []
    line = fresh.last_line()
    assert (line["event"], line["severity"], line["topic"]) == ("gateway.refused", "WARNING", topic)
    assert reason in line["why"]


@pytest.mark.parametrize("answer", [500, 503, 429, 401])
def test_message_stays_with_pubsub_in_an_outage(fresh: Running, answer: int) -> None:
    fresh.prefect.answer = answer
    refused = fresh.post(names.LAKE_LANDED, wrapped(landed())[1])
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert f"answered {answer}" in fresh.last_line()["why"]
    fresh.prefect.answer = 204
    wait_until(lambda: fresh.send(names.LAKE_LANDED, landed()) == 204, "the gateway takes events again", 10)
    assert len(fresh.prefect.events) == 1


def test_prefect_outage_is_answered_at_once(fresh: Running) -> None:
    fresh.prefect.answer = 503
    before, began = len(fresh.lines()), time.monotonic()
    requests = fresh.prefect.asked
    while time.monotonic() < began + 1.2:
        assert fresh.send(names.LAKE_LANDED, landed()) == 503
    logged = [line["event"] for line in fresh.lines()[before:]]
    assert logged.count("gateway.prefect_away") == 1
    assert logged.count("gateway.unavailable") > 10
    assert fresh.prefect.asked - requests <= 2
    fresh.prefect.answer = 204
    wait_until(lambda: fresh.send(names.LAKE_LANDED, landed()) == 204, "the gateway takes events again", 10)
    assert "gateway.prefect_back" in {line["event"] for line in fresh.lines()[before:]}


def test_event_rejected_by_prefect_is_not_retried(fresh: Running) -> None:
    fresh.prefect.answer = 422
    assert fresh.send(names.LAKE_LANDED, landed()) == 400
    assert "rejected lake.landed: 422" in fresh.last_line()["why"]


def test_no_event_is_sent_without_the_database(fresh: Running) -> None:
    assert fresh.send(names.LAKE_LANDED, landed(message_id="before")) == 204
    fresh.prefect.database, questions = False, fresh.prefect.asked
    time.sleep(READY_FOR_S)
    refused = fresh.post(names.LAKE_LANDED, wrapped(landed())[1])
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "is not ready: it answered 503" in fresh.last_line()["why"]
    assert fresh.prefect.asked == questions
    fresh.prefect.database = True
    wait_until(lambda: fresh.send(names.LAKE_LANDED, landed()) == 204, "the gateway takes events again", 10)


def test_gateway_stays_ready_in_prefect_outage(fresh: Running) -> None:
    fresh.prefect.stop()
    try:
        assert fresh.send(names.LAKE_LANDED, landed()) == 503
        assert fresh.last_line()["event"] == "gateway.unavailable"
        assert httpx.get(f"{fresh.url}/healthz").status_code == 200
        assert httpx.get(f"{fresh.url}/readyz").status_code == 200
    finally:
        fresh.prefect.start()
    wait_until(lambda: fresh.send(names.LAKE_LANDED, landed()) == 204, "the gateway takes events again", 10)
    assert len(fresh.prefect.events) == 1


def test_without_certificates_nobody_is_admitted(running: Running, tmp_path: Path) -> None:
    certs, identity = free_port(), tmp_path / "identity"
    with gateway(tmp_path, running.prefect, certs_at(certs), running.identity) as other:
        assert other.send(names.LAKE_LANDED, landed()) == 503
        assert "no certificates" in other.last_line()["why"]
        assert "gateway.certificates_away" in {line.get("event") for line in other.lines()}
        assert httpx.get(f"{other.url}/readyz").status_code == 503
        with server("identity", identity, port=certs):
            other.identity = identity
            wait_until(lambda: httpx.get(f"{other.url}/readyz").status_code == 200, "it is ready", 10)
            assert other.send(names.LAKE_LANDED, landed()) == 204


def test_other_methods_and_paths_are_rejected(fresh: Running) -> None:
    assert httpx.get(f"{fresh.url}/push/{names.LAKE_LANDED}").status_code == 405
    assert httpx.post(f"{fresh.url}/").status_code == 404


def test_missing_prefect_address_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    with process("-m", "millrace.gateway", "--port", "1", env={"PREFECT_API_URL": ""}, log=log) as started:
        assert started.wait(30) == 1
    assert "SettingsError: PREFECT_API_URL is not set" in log.read_text()
