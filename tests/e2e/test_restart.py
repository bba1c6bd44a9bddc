"""The stack ended, killed, and started again: nothing is lost, nothing is torn, and all addresses still agree."""

import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from local.stack.place import BUCKET
from local.stack.supervise import is_held
from millrace.domain import names
from tests.e2e.landing import LSN, airline, land, parquet
from tests.e2e.stack import Stack, local, now, processes_of
from tests.support.servers import ROOT, wait_until


@pytest.mark.long
def test_a_killed_supervisor_takes_its_processes_along_and_the_next_start_is_whole(stack: Stack) -> None:
    place, lake = stack.place, stack.platform.lake
    objects = {o.name: o.generation for o in lake.list("raw/")}
    said = httpx.get(f"{place.http('slack')}/messages.json").json()
    jobs = httpx.get(place.http("airbyte")).text
    pids = stack.pids()
    os.kill(pids["supervisor"], signal.SIGKILL)
    wait_until(lambda: processes_of(stack.state) == [], "all processes of the stack have ended", 30)
    assert not is_held(stack.state)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", place.ports["storage"]))
        taken.listen()
        came_up = local(stack.state, "up")
    assert came_up.returncode == 0, came_up.stdout + came_up.stderr
    assert f"port {place.ports['storage']} of storage is taken by another program; using " in came_up.stdout
    stack.__post_init__()
    assert stack.place.ports["storage"] != place.ports["storage"]
    assert {o.name: o.generation for o in stack.platform.lake.list("raw/")} == objects
    assert httpx.get(f"{stack.place.http('slack')}/messages.json").json()[: len(said)] == said
    assert jobs.count("<tr>") == httpx.get(stack.place.http("airbyte")).text.count("<tr>")


@pytest.mark.long
def test_events_still_find_their_way_after_a_port_moved(stack: Stack) -> None:
    since = now()
    land(stack.platform.lake, parquet([airline("RA", "after the move", LSN + 10)]))
    stack.wait_for_message("Marts published from", since=since)
    page = httpx.get(f"{stack.place.http('storage')}/{BUCKET}/{names.SITE}quality/index.html")
    assert page.status_code == 200


def test_a_killed_part_is_started_again(stack: Stack) -> None:
    for service in ("gateway", "storage"):
        before = stack.kill(service)
        wait_until(lambda s=service, b=before: stack.pids()[s] not in (b, None), f"{service} is started again", 60)  # type: ignore[misc]
    wait_until(lambda: "DOES NOT ANSWER" not in local(stack.state, "status").stdout, "all parts answer", 60)


def test_a_second_stack_on_the_same_state_is_refused(stack: Stack) -> None:
    command = [sys.executable, "-m", "local.stack.supervise", "--state", str(stack.state)]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "a stack is running on" in second.stdout
    assert json.loads((stack.state / "ready.json").read_text())["pid"] == stack.pids()["supervisor"]
