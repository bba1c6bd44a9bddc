"""Forks commands for the launchers that connect to its socket, and reports their exit codes."""

import contextlib
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable

from millrace.worker.child import Command, become

GRACE_S = 3.0


class ForkServer:
    """One generation of the server: it takes commands until the imported code is stale, then awaits those it forked."""

    def __init__(self, listener: socket.socket, is_stale: Callable[[], bool], retire: Callable[[], None]) -> None:
        self._listener, self._is_stale, self._retire = listener, is_stale, retire
        self._children: dict[int, socket.socket] = {}
        self._ending = self._renew = self._retired = False
        self._selector = selectors.DefaultSelector()
        self._awake, self._waker = socket.socketpair()
        for end in (self._awake, self._waker):
            end.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._awake, selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve until SIGTERM, or until SIGHUP or a stale import and the end of the last command after it."""
        signal.set_wakeup_fd(self._waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGHUP, self._request_renewal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while not self._ending and not (self._retired and not self._children):
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._take()
                elif key.fileobj is self._awake:
                    with contextlib.suppress(BlockingIOError):
                        self._awake.recv(4096)
                else:
                    self._relay(key.data, key.fileobj)  # type: ignore[arg-type]
            self._reap()
            if self._renew and not self._retired:
                self._stop_taking()
        self._end_children()

    def _end(self, *_: object) -> None:
        self._ending = True

    def _request_renewal(self, *_: object) -> None:
        self._renew = True

    def _take(self) -> None:
        """Fork the next command, unless the next generation has to: the connection then waits for it."""
        if self._is_stale():
            self._renew = True
        else:
            with contextlib.suppress(OSError, ValueError):  # of a launcher that died
                self._accept()

    def _stop_taking(self) -> None:
        self._retired = True
        self._selector.unregister(self._listener)
        self._listener.close()
        self._retire()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(10)
        try:
            _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
            command = Command(**json.loads(_read(connection, int.from_bytes(_read(connection, 4), "big"))))
        except (OSError, ValueError):
            connection.close()
            raise
        child = os.fork()
        if child == 0:
            self._close_inherited()
            connection.close()
            become(command, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._children[child] = connection
        self._selector.register(connection, selectors.EVENT_READ, child)

    def _close_inherited(self) -> None:
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for inherited in (self._listener, self._awake, self._waker, *self._children.values()):
            inherited.close()

    def _relay(self, child: int, connection: socket.socket) -> None:
        """Pass a launcher's signals on; kill the child when its launcher died."""
        try:
            numbers = connection.recv(16)
        except OSError:
            numbers = b""
        if not numbers:
            self._selector.unregister(connection)
            _kill(child, signal.SIGKILL)
        for number in numbers:
            _kill(child, signal.Signals(number))

    def _reap(self) -> None:
        while self._children:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                return
            connection = self._children.pop(child)
            with contextlib.suppress(KeyError):
                self._selector.unregister(connection)
            with contextlib.suppress(OSError):
                connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
            connection.close()

    def _end_children(self) -> None:
        for child in self._children:
            _kill(child, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.05)
        for child in self._children:
            _kill(child, signal.SIGKILL)
        while self._children:
            self._reap()
            time.sleep(0.01)


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise OSError("the launcher closed the connection")
        data += part
    return data


def _kill(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)
