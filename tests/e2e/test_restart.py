"""The stack ended, killed, and started again: nothing is lost, nothing is torn, and all addresses still agree."""

import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from local.stack.local_stack import BUCKET
from local.stack.supervise import is_held
from millrace.domain import names
from tests.e2e.landing import LSN, airline, land, parquet
from tests.e2e.stack import Stack, local, now, processes_of
from tests.support.servers import ROOT, wait_until

pytestmark = pytest.mark.demo


@pytest.mark.long
def test_stack_restarts_after_supervisor_kill(stack: Stack) -> None:
    before, lake = stack.local, stack.platform.lake
    objects = {o.name: o.generation for o in lake.list("raw/")}
    messages = httpx.get(f"{before.http('slack')}/messages.json").json()
    jobs = httpx.get(before.http("airbyte")).text
    pids = stack.pids()
    os.kill(pids["supervisor"], signal.SIGKILL)
    wait_until(lambda: processes_of(stack.state) == [], "all processes of the stack have ended", 30)
    assert not is_held(stack.state)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", before.ports["storage"]))
        taken.listen()
        came_up = local(stack.state, "up")
    assert came_up.returncode == 0, came_up.stdout + came_up.stderr
    assert f"port {before.ports['storage']} of storage is taken by another program; using " in came_up.stdout
    stack.__post_init__()
    assert stack.local.ports["storage"] != before.ports["storage"]
    assert {o.name: o.generation for o in stack.platform.lake.list("raw/")} == objects
    assert httpx.get(f"{stack.local.http('slack')}/messages.json").json()[: len(messages)] == messages
    assert jobs.count("<tr>") == httpx.get(stack.local.http("airbyte")).text.count("<tr>")


@pytest.mark.long
def test_events_arrive_after_a_port_changed(stack: Stack) -> None:
    since = now()
    land(stack.platform.lake, parquet([airline("RA", "after the move", LSN + 10)]))
    stack.wait_for_message("Marts published from", since=since)
    page = httpx.get(f"{stack.local.http('storage')}/{BUCKET}/{names.SITE}quality/index.html")
    assert page.status_code == 200


def test_killed_process_is_restarted(stack: Stack) -> None:
    for service in ("gateway", "storage"):
        before = stack.kill(service)
        wait_until(lambda s=service, b=before: stack.pids()[s] not in (b, None), f"{service} is started again", 60)  # type: ignore[misc]
    wait_until(lambda: "DOES NOT ANSWER" not in local(stack.state, "status").stdout, "all parts answer", 60)


def test_second_stack_on_same_state_is_rejected(stack: Stack) -> None:
    command = [sys.executable, "-m", "local.stack.supervise", "--state", str(stack.state)]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "a stack is already running on" in second.stdout
    assert json.loads((stack.state / "ready.json").read_text())["pid"] == stack.pids()["supervisor"]
