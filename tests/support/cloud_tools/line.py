"""Brings a program's call from the shell of a page to the test that stands in for the cloud, over a socket."""

import json
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Gone = Callable[[], bool]
Forward = Callable[[int, int], None]
Answer = Callable[[Json, Gone, Forward], Json]
CLIENT = """#!{python} -SEI
import json, os, socket, sys, threading

def copy(source, target):
    while part := source.recv(65536):
        target.sendall(part)
    target.close()

def forward(here, there):
    listener = socket.create_server(("127.0.0.1", here))
    while True:
        caller, server = listener.accept()[0], socket.create_connection(("127.0.0.1", there))
        for pair in ((caller, server), (server, caller)):
            threading.Thread(target=copy, args=pair, daemon=True).start()

asked = {{"program": {program!r}, "argv": sys.argv[1:], "folder": os.getcwd()}}
asked["stdin"] = sys.stdin.read() if "-" in asked["argv"] or "--data-file=-" in asked["argv"] else ""
with socket.socket(socket.AF_UNIX) as line:
    line.connect({socket!r})
    line.sendall(json.dumps(asked).encode() + b"\\n")
    for told in map(json.loads, line.makefile()):
        if "forward" in told:
            threading.Thread(target=forward, args=told["forward"], daemon=True).start()
sys.stdout.write(told["out"])
sys.stderr.write(told["err"])
sys.exit(told["code"])
"""


def write_program(folder: Path, program: str, address: Path) -> None:
    """Write an executable that passes its arguments on, and says and ends as it is told."""
    file = folder / program
    file.write_text(CLIENT.format(python=sys.executable, program=program, socket=str(address)))
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


class Line:
    """Answers calls on a socket, each in a thread of its own: a port-forward stays while others are made."""

    def __init__(self, address: Path, answer: Answer) -> None:
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(address))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                call, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(call,), daemon=True).start()

    def _one(self, call: socket.socket) -> None:
        with call:
            text = b""
            while not text.endswith(b"\n"):
                text += call.recv(65536)
            message = self._answer(
                json.loads(text), lambda: _gone(call), lambda *ports: _send(call, {"forward": ports})
            )
            try:
                _send(call, message)
            except OSError:
                return  # the caller was ended, as a port-forward is


def _send(call: socket.socket, message: Json) -> None:
    call.sendall(json.dumps(message).encode() + b"\n")


def _gone(call: socket.socket) -> bool:
    """Return whether the program that called has ended."""
    call.setblocking(False)
    try:
        return call.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        call.setblocking(True)


def path_with(folder: Path) -> str:
    """Return a PATH on which the programs of a folder come first."""
    return f"{folder}:{os.environ['PATH']}"
