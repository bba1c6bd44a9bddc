"""Prefect on PostgreSQL, as Google Cloud has it: its database and its process are killed while messages are pushed."""

import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from millrace.domain import names
from millrace.events.translate import translate
from tasks.reconcile.start_requested import start_requested
from tests.support.gateway_process import Running, gateway
from tests.support.postgres import postgres
from tests.support.prefect_on_postgres import Prefect
from tests.support.pusher import Pushed, answers, push
from tests.support.pushes import landed, message
from tests.support.servers import free_port, server, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

SEED = int(os.environ.get("MILLRACE_SEED", str(time.time_ns() % 10**6)))
PER_S, SECONDS, STREAMS, REQUESTS = 20, 60, 10, 20
UP_S, DOWN_S = (3.0, 10.0), (0.2, 8.0)
GIVE_UP_S = 240


@dataclass
class Place:
    """Prefect on PostgreSQL, and a gateway that posts to it."""

    prefect: Prefect
    running: Running
    servers: ExitStack

    def ids(self) -> set[str]:
        """Return the ids of all stored events."""
        return set(self.prefect.database.query("SELECT id FROM events"))

    def runs(self, flow: str) -> list[tuple[str, float]]:
        """Return the runs of a flow: source and stream, and the time at which each is to start."""
        rows = self.prefect.database.query(
            "SELECT concat_ws('.', r.parameters->>'source', r.parameters->>'stream'),"
            " extract(epoch FROM r.expected_start_time)"
            f" FROM flow_run r JOIN flow f ON f.id = r.flow_id WHERE f.name = '{flow}'"
        )
        return [(row.split("|")[0], float(row.split("|")[1])) for row in rows]

    def restart(self) -> None:
        """Kill Prefect's process, and start it again."""
        assert self.prefect.process
        self.prefect.process.kill()
        self.prefect.process.wait(10)
        self.servers.enter_context(self.prefect.running())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as servers:
        prefect = Prefect(tmp_path, servers.enter_context(postgres()), free_port())
        servers.enter_context(prefect.running())
        prefect.deploy()
        certs = servers.enter_context(server("identity", tmp_path / "identity"))
        own = {"MILLRACE_GATEWAY__LANDINGS_APART_S": "1"}
        running = servers.enter_context(
            gateway(tmp_path, prefect, f"http://127.0.0.1:{certs}/certs", tmp_path / "identity", **own)
        )
        yield Place(prefect, running, servers)


def messages() -> list[Pushed]:
    """Return the load: landings of some streams, and one in `REQUESTS` messages a request for a source of its own."""
    load = []
    for number in range(PER_S * SECONDS):
        if number % REQUESTS:
            path = f"{names.manifests_prefix('shop', f's{number % STREAMS}')}20260101/c-{number:012d}.json"
            load.append(Pushed(names.LAKE_LANDED, landed(path, message_id=f"m{number}")))
        else:
            request = message({"source": f"source_{number}"}, message_id=f"m{number}")
            load.append(Pushed(names.INGEST_REQUESTED, request))
    now = time.time()
    for number, pushed in enumerate(load):  # Prefect's triggers look at the time at which a message was published
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + number / PER_S))
        pushed.message = pushed.message.model_copy(update={"publish_time": at})
    return load


def kill_at_random(place: Place, chance: random.Random, seconds: float) -> list[float]:
    """Kill the database again and again, and Prefect's process once; return the times without a database."""
    end, down, restart_at = time.monotonic() + seconds, [], time.monotonic() + seconds / 2
    while time.monotonic() < end:
        time.sleep(chance.uniform(*UP_S))
        place.prefect.database.stop()
        began = time.monotonic()
        time.sleep(chance.uniform(*DOWN_S))
        place.prefect.database.start()
        down.append(time.monotonic() - began)
        if time.monotonic() > restart_at:
            place.restart()
            restart_at = float("inf")
    return down


def test_killed_database_loses_no_push(place: Place) -> None:
    chance, load = random.Random(SEED), messages()
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill_at_random, place, chance, SECONDS)
        asyncio.run(push(place.running.url, place.running.token(), load, PER_S, GIVE_UP_S))
        down = killing.result()
    assert {pushed.answers[-1] for pushed in load} == {204}
    requests = [pushed for pushed in load if pushed.topic == names.INGEST_REQUESTED]
    sources = {str(pushed.message.body()["source"]) for pushed in requests}
    wait_until_quiet(place)
    unstored = {event_id(pushed) for pushed in requests} - place.ids()
    started = {source for source, _ in place.runs("ingest")}
    with temporary_settings({PREFECT_API_URL: place.prefect.url}):
        gaps = start_requested.fn(dry_run=False, settled=timedelta(0))
        again = start_requested.fn(dry_run=False, settled=timedelta(0))
    served = [source for source, _ in place.runs("ingest")]
    late = late_streams(place, load)
    print_figures(
        load,
        down,
        f"{len(requests)} requests: {len(started)} got a run by their event, {len(gaps)} by reconcile,"
        f" {len(served) - len(set(served))} a second one; {len(late)} streams wait for reconcile",
    )
    assert unstored == set()
    assert {gap.where.removeprefix("source.requested ") for gap in gaps} == sources - started
    assert again == []
    assert set(served) == sources
    check_that_events_start_runs(place)


def event_id(pushed: Pushed) -> str:
    event = translate(pushed.topic, pushed.message)
    assert event
    return event.id


def wait_until_quiet(place: Place) -> None:
    """Wait until no run was made for 15 seconds."""
    counted, since = -1, time.monotonic()

    def quiet() -> bool:
        nonlocal counted, since
        count = len(place.runs("ingest")) + len(place.runs("merge"))
        if count != counted:
            counted, since = count, time.monotonic()
        return time.monotonic() - since > 15

    wait_until(quiet, "no more runs are made", 600)


def late_streams(place: Place, load: list[Pushed]) -> set[str]:
    """Return the streams with a landing that no merge follows, which reconcile finds in the lake."""
    runs, last = place.runs("merge"), dict[str, float]()
    for pushed in load:
        if pushed.topic == names.LAKE_LANDED:
            source, stream, _ = names.parse_manifest_path(pushed.message.attributes["objectId"])
            published = datetime.fromisoformat(pushed.message.publish_time).timestamp()
            last[f"{source}.{stream}"] = max(last.get(f"{source}.{stream}", 0.0), published)
    return {stream for stream, at in last.items() if not any(s == stream and starts >= at for s, starts in runs)}


def check_that_events_start_runs(place: Place) -> None:
    """Send a landing of other streams, after all: Prefect still evaluates triggers."""
    for number in range(STREAMS):
        path = f"{names.manifests_prefix('shop', f'new{number}')}20260101/c-{number:012d}.json"
        last = landed(path, message_id=f"last{number}")
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        assert place.running.send(names.LAKE_LANDED, last.model_copy(update={"publish_time": at})) == 204
    streams = {f"shop.new{number}" for number in range(STREAMS)}
    wait_until(lambda: streams <= {stream for stream, _ in place.runs("merge")}, "each landing starts a merge", 120)


def print_figures(load: list[Pushed], down: list[float], outcome: str) -> None:
    longest = max(pushed.taken_at - pushed.sent_at for pushed in load)
    sys.stdout.write(
        f"seed {SEED}: {len(load)} messages in {SECONDS} s, answers {answers(load)}, the latest 204 after"
        f" {longest:.0f} s; the database was killed {len(down)} times and away for {sum(down):.0f} s, Prefect once;"
        f" {outcome}\n"
    )
