"""Runs a local server: parses its options, owns its state directory, prints a ready line, and ends it cleanly."""

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARENT_POLL_S = 0.5
LOCK_PATIENCE_S = 5.0
GRACE_S = 2.0

Application = Any  # an ASGI application; the servers differ in the framework's own types


@dataclass(frozen=True)
class Options:
    """The options that every server takes."""

    port: int
    state: Path
    parent: int | None = None


def option_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every server takes."""
    parser = argparse.ArgumentParser(prog=f"python -m local.servers.{name}", description=description)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument("--state", type=Path, required=True, help="directory that keeps the server's state")
    parser.add_argument("--parent", type=int, help="end when the process with this id ends")
    return parser


def common_options(parsed: argparse.Namespace) -> Options:
    """Return the common options out of all parsed ones."""
    return Options(parsed.port, parsed.state.resolve(), parsed.parent)


@contextlib.contextmanager
def owned(state: Path) -> Iterator[Path]:
    """Make the directory and hold it, so that two servers never write the same state.

    Raises:
        SystemExit: another process holds it.
    """
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state / ".lock").open("w") as lock:
        deadline = time.monotonic() + LOCK_PATIENCE_S  # a predecessor may still be ending
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise SystemExit(f"{state} belongs to another running server; end it first") from None
                time.sleep(0.05)  # polls, as a lock on a file sends no notification
        yield state


def say(text: str) -> None:
    """One line to stderr, the servers' log."""
    print(text, file=sys.stderr, flush=True)


def bound(port: int) -> socket.socket:
    """A socket that is bound to a port of 127.0.0.1 and does not listen yet.

    Raises:
        SystemExit: the port is taken.
    """
    # With the protocol named, asyncio sets TCP_NODELAY; without, each answer waits 40 ms for a delayed ACK.
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a predecessor's connections may linger
    try:
        held.bind(("127.0.0.1", port))
    except OSError as error:
        held.close()
        raise SystemExit(
            f"port {port} on 127.0.0.1 can't be had ({error.strerror}); choose another with --port"
        ) from None
    return held


def say_ready(name: str, port: int) -> None:
    """Print the line by which a waiting caller sees that the server answers."""
    say(f"local.servers.{name} ready on 127.0.0.1:{port}")


def hear_of_end(parent: int | None) -> Callable[[], Coroutine[Any, Any, None]]:
    """Listen for SIGTERM, SIGINT and the parent's end, before the port is open; return a function that waits."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    ended = parent_watch(parent)

    async def until_told() -> None:
        while not ending.is_set() and not ended():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), PARENT_POLL_S)

    return until_told


def parent_watch(parent: int | None) -> Callable[[], bool]:
    """A function that says whether the process `parent` has ended; without one it never has."""
    if parent is None:
        return lambda: False
    if os.getppid() == parent:
        return lambda: os.getppid() != parent  # also right when the id is taken by a new process
    return lambda: not _alive(parent)


def serve_http(name: str, application: Application, options: Options) -> None:
    """Serve an ASGI application until SIGTERM or the end of the parent.

    Raises:
        SystemExit: the port is taken.
    """
    import uvicorn

    listening = bound(options.port)
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        lifespan="auto",
        timeout_graceful_shutdown=int(GRACE_S),
        timeout_keep_alive=30,
    )
    server = uvicorn.Server(config)
    # Our own handlers end the server without uvicorn's re-raised signal, which would make the exit code -15.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]  # as said

    async def run() -> None:
        until_told = hear_of_end(options.parent)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if serving.done():
            return  # it could not start and has said why
        say_ready(name, options.port)
        ending = asyncio.create_task(until_told())
        await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving

    asyncio.run(run())


def run_until_ended(main: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous server's main function."""

    async def run() -> None:
        await main()

    asyncio.run(run())


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
