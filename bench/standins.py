"""The local Pub/Sub and Cloud Storage through Google's clients, Google's emulator beside: `python -m bench.standins`.

Writes the figures to docs/benchmarks.md.
"""

import argparse
import contextlib
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import pubsub_v1, storage

from bench.page import record

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "millrace-bench"
PACKAGES = ("google-cloud-pubsub", "google-cloud-storage", "grpcio")
START_S, PATIENCE_S = 60, 300
MESSAGE = b"x" * 1000
MB = 1 << 20


@dataclass(frozen=True)
class PubSubFigures:
    """Milliseconds from publish to receipt, one message at a time, and messages per second in a burst."""

    stream_ms: Sequence[float]
    push_ms: Sequence[float]
    per_s: float


@dataclass(frozen=True)
class StorageFigures:
    """Bytes per second of large objects by one client, and small objects per second by one client."""

    up: float
    down: float
    small_up: float
    small_down: float


@contextlib.contextmanager
def serving(*command: str, port: int, folder: Path) -> Iterator[None]:
    """A server in a process group of its own, which is ended whole."""
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, START_S, f"{command} answers")
        if process.poll() is not None:
            raise SystemExit(f"{command} ended: {(folder / f'{port}.log').read_text()[-2000:]}")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@contextlib.contextmanager
def local_server(name: str, folder: Path) -> Iterator[int]:
    """One of the stand-ins with a state of its own; its port."""
    port = free_port()
    command = (sys.executable, "-m", f"local.servers.{name}", "--port", str(port), "--state", str(folder / name))
    with serving(*command, port=port, folder=folder):
        yield port


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Return True when a server listens on the port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(holds: Callable[[], object], seconds: float, condition: str) -> None:
    """Wait for a condition. Raises SystemExit when it does not come."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds} s: {condition}")
        time.sleep(0.002)  # short beside what is measured


@contextlib.contextmanager
def endpoint(arrived: Callable[[], None]) -> Iterator[str]:
    """An HTTP endpoint that takes pushes; its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Take a push."""
            self.rfile.read(int(self.headers["content-length"]))
            arrived()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}/push"
    listening.shutdown()


def measure_pubsub(port: int, count: int, burst: int) -> PubSubFigures:
    """Figures of the Pub/Sub server on a port."""
    os.environ["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{port}"
    with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:

        def made(push: str = "") -> tuple[str, str]:
            name = f"bench-{uuid.uuid4().hex[:8]}"
            topic = f"projects/{PROJECT}/topics/{name}"
            subscription = f"projects/{PROJECT}/subscriptions/{name}"
            publisher.create_topic(name=topic)
            request: dict[str, Any] = {"name": subscription, "topic": topic, "ack_deadline_seconds": 60}
            subscriber.create_subscription(request=request | ({"push_config": {"push_endpoint": push}} if push else {}))
            return topic, subscription

        received = threading.Semaphore(0)

        def take(message: Any) -> None:
            received.release()
            message.ack()

        def one_by_one(topic: str) -> list[float]:
            return [
                _round_trip(lambda: publisher.api.publish(topic=topic, messages=[{"data": MESSAGE}]), received)
                for _ in range(count + 20)
            ][20:]

        topic, subscription = made()
        stream = subscriber.subscribe(subscription, take)
        stream_ms = one_by_one(topic)
        began = time.monotonic()
        for future in [publisher.publish(topic, MESSAGE) for _ in range(burst)]:
            future.result(PATIENCE_S)
        for _ in range(burst):
            if not received.acquire(timeout=PATIENCE_S):
                raise SystemExit("the burst is not delivered")
        per_s = burst / (time.monotonic() - began)
        stream.cancel()
        stream.result(30)
        with endpoint(received.release) as url:
            push_ms = one_by_one(made(url)[0])
    return PubSubFigures(stream_ms, push_ms, per_s)


def _round_trip(publish: Callable[[], object], received: threading.Semaphore) -> float:
    began = time.perf_counter()
    publish()
    if not received.acquire(timeout=PATIENCE_S):
        raise SystemExit("a message is not delivered")
    return (time.perf_counter() - began) * 1000


def measure_storage(port: int, large: int, small: int) -> StorageFigures:
    """Figures of the Cloud Storage server on a port: `large` objects of 64 MB, `small` ones of 10 KB."""
    options = {"api_endpoint": f"http://127.0.0.1:{port}"}
    client = storage.Client(PROJECT, credentials=AnonymousCredentials(), client_options=options)
    bucket, big, little = client.create_bucket("bench-bucket"), os.urandom(64 * MB), os.urandom(10_000)

    def rate(amount: float, name: str, count: int, act: Callable[[storage.Blob], object]) -> float:
        began = time.monotonic()
        for number in range(count):
            act(bucket.blob(f"{name}/{number}"))
        return amount * count / (time.monotonic() - began)

    return StorageFigures(
        up=rate(len(big), "large", large, lambda blob: blob.upload_from_string(big)),
        down=rate(len(big), "large", large, lambda blob: blob.download_as_bytes()),
        small_up=rate(1, "small", small, lambda blob: blob.upload_from_string(little)),
        small_down=rate(1, "small", small, lambda blob: blob.download_as_bytes()),
    )


def run(count: int, burst: int, large: int, small: int) -> tuple[dict[str, PubSubFigures], StorageFigures]:
    """Measure each server alone, one after the other."""
    peers: dict[str, PubSubFigures] = {}
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        with local_server("pubsub", folder) as port:
            peers["stand-in (`local/pubsub`)"] = measure_pubsub(port, count, burst)
        if gcloud := shutil.which("gcloud"):
            port = free_port()
            command = (gcloud, "beta", "emulators", "pubsub", "start", "--quiet", f"--project={PROJECT}")
            place = (f"--host-port=127.0.0.1:{port}", f"--data-dir={name}")
            with serving(*command, *place, port=port, folder=folder):
                peers["Google's emulator"] = measure_pubsub(port, count, burst)
        with local_server("storage", folder) as port:
            return peers, measure_storage(port, large, small)


def report(peers: dict[str, PubSubFigures], lake: StorageFigures, command: str, load: float) -> str:
    """The figures as Markdown."""
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    lines = [
        f"`{command}` on {datetime.now(UTC):%Y-%m-%d}; {machine}; {versions}; load average {load:.1f} when it began.",
        "",
        "| Pub/Sub, messages of 1 KB | publish → receive, stream, p50 / p99, ms | publish → push, p50 / p99, ms"
        " | burst, messages/s |",
        "|---|---|---|---|",
    ]
    for name, figures in peers.items():
        stream, push = (" / ".join(percentiles(ms)) for ms in (figures.stream_ms, figures.push_ms))
        lines.append(f"| {name} | {stream} | {push} | {figures.per_s:,.0f} |")
    lines += [
        "",
        "| Cloud Storage, one client | up | down |",
        "|---|---|---|",
        f"| objects of 64 MB, MB/s | {lake.up / MB:,.0f} | {lake.down / MB:,.0f} |",
        f"| objects of 10 KB, objects/s | {lake.small_up:,.0f} | {lake.small_down:,.0f} |",
    ]
    return "\n".join(lines)


def percentiles(values: Sequence[float]) -> tuple[str, str]:
    """Median and 99th percentile."""
    return f"{statistics.median(values):.1f}", f"{statistics.quantiles(values, n=100)[98]:.1f}"


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1000, help="messages one at a time (1000)")
    parser.add_argument("--burst", type=int, default=20_000, help="messages at once (20,000)")
    parser.add_argument("--large", type=int, default=8, help="objects of 64 MB (8)")
    parser.add_argument("--small", type=int, default=500, help="objects of 10 KB (500)")
    options, load = parser.parse_args(), os.getloadavg()[0]
    peers, lake = run(options.messages, options.burst, options.large, options.small)
    text = report(peers, lake, " ".join(["python -m bench.standins", *sys.argv[1:]]), load)
    print(text)
    record("standins", f"{text}\n")


if __name__ == "__main__":
    main()
