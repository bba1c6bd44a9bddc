"""Sends a stranger's requests to a gateway from several threads, beside valid pushes; measures the gateway's cost."""

import http.client
import itertools
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from local.servers.identity.tokens import identity_of, sign_oidc
from millrace.domain import names
from tests.support.gateway_process import ACCOUNT, AUDIENCE, Running
from tests.support.http_server import QuietHandler, serving
from tests.support.pushes import landed, wrapped

THREADS = 4
TIMEOUT_S = 20


@dataclass
class Certificates:
    """Google's certificates; counts how often they are fetched."""

    url: str = ""
    fetched: int = 0


@contextmanager
def certificates(identity: Path) -> Iterator[Certificates]:
    """A server of an identity's certificates."""
    import json

    served, body = Certificates(), json.dumps(identity_of(identity).certificates).encode()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            served.fetched += 1
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as address:
        served.url = f"{address}/certs"
        yield served


@dataclass
class Outcome:
    """Statuses that strangers got (0: the connection was closed), and what healthy pushes met meanwhile."""

    seconds: float = 0
    strangers: Counter[int] = field(default_factory=Counter)
    healthy: Counter[int] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        rate, p99 = sum(self.strangers.values()) / self.seconds, sorted(self.took_s)[int(len(self.took_s) * 0.99)]
        return (
            f"{sum(self.strangers.values())} pushes of strangers in {self.seconds:.1f} s ({rate:.0f}/s):"
            f" {dict(self.strangers)}; {sum(self.healthy.values())} healthy pushes meanwhile: {dict(self.healthy)},"
            f" p99 {p99 * 1000:.0f} ms; memory {self.rss_mb[0]:.0f} MB, at the most {max(self.rss_mb):.0f} MB"
        )


def attack(running: Running, folder: Path, count: int) -> Outcome:
    """`count` pushes that must create nothing, and healthy ones one after the other until they are over."""
    outcome, over = Outcome(), threading.Event()
    watching = psutil.Process(running.process.pid)
    host = running.url.removeprefix("http://")

    def strangers(thread: int) -> None:
        chance = random.Random(thread)
        sent = requests(running, folder, chance)
        for _ in range(count // THREADS):
            outcome.strangers[send(host, *next(sent))] += 1

    def healthy() -> None:
        for number in itertools.count():
            if over.is_set():
                return
            headers, body = wrapped(landed(message_id=f"healthy-{number}"))
            began = time.monotonic()
            status = send(host, body, headers | {"authorization": f"Bearer {running.token()}"})
            outcome.healthy[status] += 1
            outcome.took_s.append(time.monotonic() - began)
            outcome.rss_mb.append(watching.memory_info().rss / 1e6)

    began = time.monotonic()
    with ThreadPoolExecutor(THREADS + 1) as pool:
        serving = pool.submit(healthy)
        for strangers_result in [pool.submit(strangers, thread) for thread in range(THREADS)]:
            strangers_result.result()
        over.set()
        serving.result()
    outcome.seconds = time.monotonic() - began
    return outcome


def requests(running: Running, folder: Path, chance: random.Random) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Bodies and headers of strangers; an empty header means bytes that are not HTTP."""
    stranger = folder / f"stranger-{chance.random()}"
    good, other = running.token(), sign_oidc(stranger, AUDIENCE, ACCOUNT, time.time())
    body = wrapped(landed(message_id="forged"))[1]
    head, claims, signature = good.split(".")
    makers: list[Callable[[], tuple[bytes, dict[str, str]]]] = [
        lambda: (body, {}),
        lambda: (chance.randbytes(300), bearer(chance.randbytes(30).hex())),
        lambda: (body, bearer(f"{head}.{claims}.{signature[::-1]}")),
        lambda: (body, bearer(other)),
        lambda: (body, bearer(unknown_key(chance, claims, signature))),
        lambda: (body, bearer(running.token(audience="https://other.test"))),
        lambda: (chance.randbytes(2000), bearer(good)),
        lambda: (b"{" * 5000, bearer(good)),
        lambda: (b"", {"content-length": "99999999"} | bearer(good)),
        lambda: (chance.randbytes(200), {"": ""}),
    ]
    while True:
        yield chance.choice(makers)()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def unknown_key(chance: random.Random, claims: str, signature: str) -> str:
    """Return a token with an unknown key: each makes the gateway fetch certificates."""
    import base64
    import json

    head = json.dumps({"alg": "RS256", "typ": "JWT", "kid": chance.randbytes(20).hex()}).encode()
    return f"{base64.urlsafe_b64encode(head).decode().rstrip('=')}.{claims}.{signature}"


def send(host: str, body: bytes, headers: dict[str, str]) -> int:
    """Push once over a new connection; return the status, or 0 without an answer."""
    if "" in headers:
        name, port = host.split(":")
        with suppress(OSError), socket.create_connection((name, int(port)), TIMEOUT_S) as raw:
            raw.sendall(body + b"\r\n\r\n")
            answer = raw.recv(100)
            return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.1 ") else 0
        return 0
    connection = http.client.HTTPConnection(host, timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"/push/{names.LAKE_LANDED}", body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
