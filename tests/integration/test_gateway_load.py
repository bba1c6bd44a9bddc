"""The gateway under load, under attack, with a slow Prefect, and during a shutdown with pushes in flight."""

import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from millrace.domain import names
from millrace.events.translate import translate
from tests.support.attack import Certificates, attack, certificates
from tests.support.gateway_process import Running, gateway
from tests.support.prefect_server import prefect_server
from tests.support.pushes import landed, wrapped
from tests.support.servers import free_port, listens, wait_until

pytestmark = pytest.mark.slow

STRANGERS = int(os.environ.get("MILLRACE_STRANGERS", "2000"))
SLOW_S = 2


@pytest.fixture
def certs(tmp_path: Path) -> Iterator[Certificates]:
    with certificates(tmp_path / "identity") as server:
        yield server


@contextmanager
def a_gateway(folder: Path, certs: Certificates, **env: str) -> Iterator[Running]:
    """Yield a gateway and its Prefect, which is released at the end."""
    identity = folder / "identity"
    with prefect_server(free_port()) as prefect, gateway(folder, prefect, certs.url, identity, **env) as process:
        yield process
        prefect.hold.set()


@pytest.fixture
def running(tmp_path: Path, certs: Certificates) -> Iterator[Running]:
    """Yield a gateway whose limits for Prefect and for pushes in flight exceed what a busy machine needs."""
    patient = {"MILLRACE_GATEWAY__PREFECT_TIMEOUT_S": "60", "MILLRACE_GATEWAY__GRACE_S": "60"}
    with a_gateway(tmp_path, certs, **patient) as process:
        yield process


@pytest.fixture
def impatient(tmp_path: Path, certs: Certificates) -> Iterator[Running]:
    """Yield a gateway whose limits for Prefect and for pushes in flight are a second or two."""
    short = {"MILLRACE_GATEWAY__PREFECT_TIMEOUT_S": str(SLOW_S), "MILLRACE_GATEWAY__GRACE_S": "1"}
    with a_gateway(tmp_path, certs, **short) as process:
        yield process


def push_all(pool: ThreadPoolExecutor, running: Running, count: int) -> "list[Future[int]]":
    """Send pushes at the same time, each with a different message."""
    return [
        pool.submit(running.send, names.LAKE_LANDED, landed(message_id=f"m-{n}"), running.token()) for n in range(count)
    ]


def in_flight(running: Running) -> int:
    """Return the number of open connections from callers to the gateway; each push has one."""
    port = int(running.url.rsplit(":", 1)[1])
    return sum(
        each.laddr.port == port and each.status == "ESTABLISHED"
        for each in psutil.Process(running.process.pid).net_connections()
    )


def test_concurrent_events_are_sent_together(running: Running) -> None:
    running.prefect.hold.clear()
    with ThreadPoolExecutor(40) as pool:
        first = pool.submit(running.send, names.LAKE_LANDED, landed(message_id="first"))
        wait_until(lambda: running.prefect.asked == 1, "Prefect is asked to take the first event")
        sent = push_all(pool, running, 39)
        wait_until(lambda: in_flight(running) == 40, "all pushes have come to the gateway")
        time.sleep(0.3)  # their bodies too; an answer of the gateway would be visible
        assert not any(push.done() for push in [first, *sent])
        running.prefect.hold.set()
        assert {push.result() for push in [first, *sent]} == {204}
    assert len({event["id"] for event in running.prefect.events}) == 40
    assert running.prefect.most_at_once > 20
    assert running.prefect.asked < 8


def test_rejected_event_does_not_fail_others(running: Running) -> None:
    bad = translate(names.LAKE_LANDED, landed(message_id="m-7"))
    assert bad
    running.prefect.wrong, running.prefect.answer = {bad.id}, 204
    running.prefect.hold.clear()
    with ThreadPoolExecutor(20) as pool:
        sent = push_all(pool, running, 20)
        wait_until(lambda: running.prefect.asked == 1, "Prefect is asked to take events")
        running.prefect.hold.set()
        statuses = [push.result() for push in sent]
    assert statuses == [400 if n == 7 else 204 for n in range(20)]
    assert len(running.prefect.events) == 19


def test_slow_prefect_is_awaited_until_the_limit(impatient: Running) -> None:
    assert impatient.send(names.LAKE_LANDED, landed()) == 204
    impatient.prefect.hold.clear()
    began = time.monotonic()
    assert impatient.send(names.LAKE_LANDED, landed(message_id="slow")) == 503
    assert SLOW_S <= time.monotonic() - began < 10  # its default limit
    assert "Timeout" in impatient.last_line()["why"]


def test_shutdown_answers_pushes_in_flight(running: Running) -> None:
    port = int(running.url.rsplit(":", 1)[1])
    running.prefect.hold.clear()
    with ThreadPoolExecutor(10) as pool:
        sent = push_all(pool, running, 10)
        wait_until(lambda: running.prefect.asked == 1, "Prefect is asked to take events")
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(port), "new connections are refused", 5)
        running.prefect.hold.set()
        assert Counter(push.result() for push in sent) == {204: 10}
    assert running.process.wait(10) == 0
    assert len({event["id"] for event in running.prefect.events}) == 10


def test_shutdown_does_not_await_an_endless_push(impatient: Running) -> None:
    host, port = impatient.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        head = f"POST /push/{names.LAKE_LANDED} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {impatient.token()}\r\n"
        slow.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert impatient.send(names.LAKE_LANDED, landed()) == 204
        impatient.process.send_signal(signal.SIGTERM)
        assert impatient.process.wait(10) == 0


def test_strangers_cost_no_memory_and_no_delay(running: Running, certs: Certificates, tmp_path: Path) -> None:
    warm = attack(running, tmp_path, STRANGERS // 5)
    outcome = attack(running, tmp_path, STRANGERS)
    sys.stdout.write(f"{outcome}\n")
    assert set(outcome.strangers) <= {0, 400, 401, 413}
    assert sum(outcome.strangers.values()) == STRANGERS
    assert set(outcome.healthy) == {204}
    taken = {event["payload"]["object"] for event in running.prefect.events}
    assert taken == {landed().attributes["objectId"]}
    count = sum(warm.healthy.values()) + sum(outcome.healthy.values())
    assert len(running.prefect.events) == count
    assert max(outcome.rss_mb) - max(warm.rss_mb) < 20
    assert certs.fetched <= 2 + (warm.seconds + outcome.seconds) / 10
    assert wrapped(landed(message_id="forged"))[1] not in running.log.read_bytes()
