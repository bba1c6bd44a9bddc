"""200 pushes a second through a gateway and a real Prefect: `python -m bench.pushes`.

Once as deployed: the gateway makes one event of a stream's landings of a second, and an event starts no run if one
is active for its work. Once without either: an event for each message, a run for each event. Writes the figures to
docs/benchmarks.md.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import psutil

from bench.push_load import push_steadily
from bench.push_report import DRAIN_S, Outcome, keep, report
from local.servers.identity.tokens import sign_oidc
from local.stack.environment import process_environment
from local.stack.local_stack import POOL, PUSH_ACCOUNT, LocalStack
from local.stack.ports import PREFERRED_PORTS, choose_ports

ROOT = Path(__file__).resolve().parents[1]
START_S, QUIET_S = 240, 10
YIELDING = ("nice", "-n", "5")  # the pusher is Pub/Sub, which has machines of its own: it goes before the servers
DROPPED = "Subscription queue is full, dropping message"


def environment(stack: LocalStack) -> dict[str, str]:
    """Return the environment of the stack's commands, with the variables that `prefect.yaml` reads."""
    return process_environment(stack) | {
        "MILLRACE_WORK_POOL": POOL,
        "MILLRACE_DBT_WORK_POOL": POOL,
        "MILLRACE_VERSION": "bench",
        "MILLRACE_SHOWN_WINDOW_S": "10",
    }


@contextmanager
def process(stack: LocalStack, name: str, *command: str, **env: str) -> Iterator[psutil.Process]:
    """Run a server with its log in the state directory; terminate it in the end."""
    with (stack.state / f"{name}.log").open("ab") as log:
        started = subprocess.Popen(
            [*YIELDING, sys.executable, "-m", *command],
            cwd=ROOT,
            env=process_environment(stack) | env,
            stdout=log,
            stderr=log,
        )
    try:
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()


def wait_for(url: str) -> None:
    """Wait until a URL answers with success."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)  # polls until the server listens
    raise SystemExit(f"{url} did not answer within {START_S} s")


def command(stack: LocalStack, *module: str) -> None:
    """Run a command to its end."""
    completed = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env=environment(stack),
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        output = completed.stdout + completed.stderr
        raise SystemExit(f"python -m {' '.join(module)} failed with {completed.returncode}:\n{output}")


def measure(naive: bool, per_s: int, seconds: int, streams: int) -> Outcome:
    """Run the load once on servers of its own."""
    with tempfile.TemporaryDirectory(prefix="millrace-pushes-") as folder, ExitStack() as servers:
        stack = LocalStack(Path(folder), choose_ports(dict.fromkeys(PREFERRED_PORTS, 0)))

        def start(name: str, *module: str, **env: str) -> psutil.Process:
            return servers.enter_context(process(stack, name, *module, "--port", str(stack.ports[name]), **env))

        prefect = start("prefect", "local.stack.prefect_server", "--host", "127.0.0.1")
        start("identity", "local.servers.identity", "--state", str(stack.state / "identity"))
        wait_for(f"{stack.prefect_api}/health")
        command(stack, "local.stack.pool")
        command(stack, "prefect", "--no-prompt", "deploy", "--name", "merge")
        if naive:
            trigger_once_each(stack)
        each = {"MILLRACE_GATEWAY__LANDINGS_APART_S": "0"} if naive else {}
        gateway = start("gateway", "millrace.gateway", **each)
        wait_for(f"{stack.http('gateway')}/readyz")
        return under_load(stack, {"Prefect": prefect, "gateway": gateway}, per_s, seconds, streams)


def under_load(
    stack: LocalStack, watched: dict[str, psutil.Process], per_s: int, seconds: int, streams: int
) -> Outcome:
    """Push, then wait until no new run appears or `DRAIN_S` has passed."""
    token = sign_oidc(stack.state / "identity", f"{stack.http('gateway')}/push", PUSH_ACCOUNT, time.time())
    met = asyncio.run(push_steadily(stack.http("gateway"), token, per_s, seconds, streams))
    ended, count = time.monotonic(), per_s * seconds
    events_at = runs_at = None
    last_runs, since = -1, ended
    while time.monotonic() < ended + DRAIN_S:
        landings, runs = in_database(stack)
        if events_at is None and count_delivered(stack, landings) == count:
            events_at = time.monotonic() - ended
        if runs != last_runs:
            last_runs, since = runs, time.monotonic()
        if events_at is not None and time.monotonic() - since > QUIET_S:
            runs_at = max(0.0, since - ended)
            break
        time.sleep(1)  # the drain is watched from outside, at little cost
    landings, runs = in_database(stack)
    return Outcome(
        met,
        count,
        len(landings),
        count_delivered(stack, landings),
        runs,
        events_at,
        runs_at,
        (stack.state / "prefect.log").read_text().count(DROPPED),
        {name: sum(each.cpu_times()[:2]) for name, each in watched.items()},
        {name: each.memory_info().rss / 1e6 for name, each in watched.items()},
    )


def count_delivered(stack: LocalStack, stored: set[str]) -> int:
    """Count the messages that have an event in Prefect, their own or one that the gateway's log maps them to."""
    lines = (stack.state / "gateway.log").read_text().splitlines()
    accepted = [json.loads(line) for line in lines if '"gateway.accepted"' in line]
    return len({line["message_id"] for line in accepted if line["event_id"] in stored})


def in_database(stack: LocalStack) -> tuple[set[str], int]:
    """Return the ids of the landings in Prefect's database, and its number of runs."""
    file = stack.state / "prefect" / "prefect.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as db:
        ids = {str(uuid.UUID(row[0])) for row in db.execute("SELECT id FROM events WHERE event = 'lake.landed'")}
        (runs,) = db.execute("SELECT count(*) FROM flow_run WHERE auto_scheduled = 0").fetchone()
    return ids, int(runs)


def trigger_once_each(stack: LocalStack) -> None:
    """Replace the deployed trigger by one that makes a run of each event."""
    with httpx.Client(base_url=stack.prefect_api, timeout=60) as http:
        automations = http.post("/automations/filter", json={}).raise_for_status().json()
        (merge,) = [a for a in automations if a["trigger"].get("expect") == ["lake.landed"]]
        changed = {k: merge[k] for k in ("name", "description", "enabled", "actions")}
        any_stream = {"match": {"prefect.resource.id": "millrace.stream.*"}, "for_each": []}
        changed |= {"trigger": {k: v for k, v in merge["trigger"].items() if k != "id"} | any_stream}
        http.put(f"/automations/{merge['id']}", json=changed).raise_for_status()


def main() -> int:
    """Measure, print and store the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.pushes", description=__doc__)
    parser.add_argument("--per-s", type=int, default=200, help="pushes a second (200)")
    parser.add_argument("--seconds", type=int, default=60, help="for so long (60)")
    parser.add_argument("--streams", type=int, default=20, help="of so many streams (20)")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    load_options = (options.per_s, options.seconds, options.streams)
    print("as deployed", flush=True)
    gathered = measure(False, *load_options)
    print(f"{gathered}\na run for each event", flush=True)
    naive = measure(True, *load_options)
    description = f"{options.per_s} pushes/s for {options.seconds} s of {options.streams} streams"
    text = report(gathered, naive, description, load)
    print(text)
    keep(text)
    return 0 if gathered.delivered == gathered.messages and not gathered.met.given_up else 1


if __name__ == "__main__":
    sys.exit(main())
