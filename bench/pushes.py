"""200 pushes a second through a gateway and a real Prefect: `python -m bench.pushes`.

Once as deployed: the gateway makes one event of a stream's landings of a second, the trigger one run of those of a
window. Once without either: an event for each message, a run for each event. Writes what it measured to
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
from local.stack.place import POOL, PREFERRED_PORTS, PUSH_ACCOUNT, Place, free_port

ROOT = Path(__file__).resolve().parents[1]
START_S, QUIET_S = 240, 10
YIELDING = ("nice", "-n", "5")  # the pusher is Pub/Sub, which has machines of its own: it goes before the servers
DROPPED = "Subscription queue is full, dropping message"


def environment(place: Place, window_s: int) -> dict[str, str]:
    """Of a place's commands; what `prefect.yaml` reads is among it."""
    return place.environment() | {
        "MILLRACE_WORK_POOL": POOL,
        "MILLRACE_DBT_WORK_POOL": POOL,
        "MILLRACE_VERSION": "bench",
        "MILLRACE_LANDED_WINDOW_S": str(window_s),
        "MILLRACE_MERGED_WINDOW_S": str(window_s),
    }


@contextmanager
def process(place: Place, name: str, *command: str, **env: str) -> Iterator[psutil.Process]:
    """A server, with its log in the state's directory; ended by its id."""
    with (place.state / f"{name}.log").open("ab") as log:
        started = subprocess.Popen(
            [*YIELDING, sys.executable, "-m", *command], cwd=ROOT, env=place.environment() | env, stdout=log, stderr=log
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
    """Wait until a server is well."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)  # asked again until it starts to listen
    raise SystemExit(f"{url} did not answer within {START_S} s")


def command(place: Place, window_s: int, *module: str) -> None:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env=environment(place, window_s),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"python -m {' '.join(module)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def measure(naive: bool, per_s: int, seconds: int, streams: int, window_s: int) -> Outcome:
    """One run of the load on servers of its own."""
    with tempfile.TemporaryDirectory(prefix="millrace-pushes-") as folder, ExitStack() as stack:
        place = Place(Path(folder), ports())

        def start(name: str, *module: str, **env: str) -> psutil.Process:
            return stack.enter_context(process(place, name, *module, "--port", str(place.ports[name]), **env))

        prefect = start("prefect", "local.stack.prefect_server", "--host", "127.0.0.1")
        start("identity", "local.servers.identity", "--state", str(place.state / "identity"))
        wait_for(f"{place.prefect_api}/health")
        command(place, window_s, "local.stack.pool")
        command(place, window_s, "prefect", "--no-prompt", "deploy", "--name", "merge")
        if naive:
            trigger_once_each(place)
        each = {"MILLRACE_GATEWAY__LANDINGS_APART_S": "0"} if naive else {}
        gateway = start("gateway", "gateway", **each)
        wait_for(f"{place.http('gateway')}/readyz")
        return under_load(place, {"Prefect": prefect, "gateway": gateway}, per_s, seconds, streams)


def ports() -> dict[str, int]:
    """A free port for each server."""
    taken: set[int] = set()
    for _ in PREFERRED_PORTS:
        taken.add(free_port(0, taken))
    return dict(zip(PREFERRED_PORTS, taken, strict=True))


def under_load(place: Place, watched: dict[str, psutil.Process], per_s: int, seconds: int, streams: int) -> Outcome:
    """Push, then wait until nothing moves any more or the patience is over."""
    token = sign_oidc(place.state / "identity", f"{place.http('gateway')}/push", PUSH_ACCOUNT, time.time())
    met = asyncio.run(push_steadily(place.http("gateway"), token, per_s, seconds, streams))
    ended, count = time.monotonic(), per_s * seconds
    events_at = runs_at = None
    seen, since = -1, ended
    while time.monotonic() < ended + DRAIN_S:
        found, runs = in_database(place)
        if events_at is None and told(place, found) == count:
            events_at = time.monotonic() - ended
        if runs != seen:
            seen, since = runs, time.monotonic()
        if events_at is not None and time.monotonic() - since > QUIET_S:
            runs_at = max(0.0, since - ended)
            break
        time.sleep(1)  # the drain is watched from outside, at little cost
    found, runs = in_database(place)
    return Outcome(
        met,
        count,
        len(found),
        told(place, found),
        runs,
        events_at,
        runs_at,
        (place.state / "prefect.log").read_text().count(DROPPED),
        {name: sum(each.cpu_times()[:2]) for name, each in watched.items()},
        {name: each.memory_info().rss / 1e6 for name, each in watched.items()},
    )


def told(place: Place, stored: set[str]) -> int:
    """How many messages have an event in Prefect: of their own, or of a landing that the gateway says stands for it."""
    lines = (place.state / "gateway.log").read_text().splitlines()
    said = [json.loads(line) for line in lines if '"gateway.accepted"' in line]
    return len({line["message_id"] for line in said if line["event_id"] in stored})


def in_database(place: Place) -> tuple[set[str], int]:
    """Ids of the landings that Prefect has, and how many runs were made."""
    file = place.state / "prefect" / "prefect.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as db:
        ids = {str(uuid.UUID(row[0])) for row in db.execute("SELECT id FROM events WHERE event = 'lake.landed'")}
        (runs,) = db.execute("SELECT count(*) FROM flow_run WHERE auto_scheduled = 0").fetchone()
    return ids, int(runs)


def trigger_once_each(place: Place) -> None:
    """Put a trigger that makes a run of each event in the place of the deployed one."""
    with httpx.Client(base_url=place.prefect_api, timeout=60) as http:
        found = http.post("/automations/filter", json={}).raise_for_status().json()
        (merge,) = [a for a in found if a["trigger"].get("expect") == ["lake.landed"]]
        changed = {k: merge[k] for k in ("name", "description", "enabled", "actions")}
        trigger = {k: v for k, v in merge["trigger"].items() if k != "id"} | {"within": 0, "for_each": []}
        changed |= {"trigger": trigger}
        changed["actions"][0]["schedule_after"] = 0
        http.put(f"/automations/{merge['id']}", json=changed).raise_for_status()


def main() -> int:
    """Measure, print, and keep the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.pushes", description=__doc__)
    parser.add_argument("--per-s", type=int, default=200, help="pushes a second (200)")
    parser.add_argument("--seconds", type=int, default=60, help="for so long (60)")
    parser.add_argument("--streams", type=int, default=20, help="of so many streams (20)")
    parser.add_argument("--window-s", type=int, default=10, help="triggers.landed_window_s (10)")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    given = (options.per_s, options.seconds, options.streams, options.window_s)
    print("as deployed", flush=True)
    gathered = measure(False, *given)
    print(f"{gathered}\na run for each event", flush=True)
    naive = measure(True, *given)
    what = f"{options.per_s} pushes/s for {options.seconds} s of {options.streams} streams"
    made = report(gathered, naive, what, options.window_s, load)
    print(made)
    keep(made)
    return 0 if gathered.told == gathered.messages and not gathered.met.given_up else 1


if __name__ == "__main__":
    sys.exit(main())
