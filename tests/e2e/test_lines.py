"""Log lines of a whole run of the demo, as Cloud Logging would read them, against the filters of every alert."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.stack.place import PREFERRED_PORTS
from tests.e2e.landing import LSN, SOURCE, airline, land, parquet
from tests.e2e.stack import Stack, local, now
from tests.integration.test_alerts import INNOCENT, hits
from tests.support.servers import ROOT, free_port, wait_until

pytestmark = pytest.mark.long
EVENTS = yaml.safe_load((ROOT / "millrace" / "observability" / "events.yaml").read_text())


def lines_of(state: Path) -> list[dict[str, Any]]:
    """What all processes of a stack wrote, as far as it is JSON."""
    found = []
    for log in sorted((state / "logs").glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                found.append(json.loads(line))
    return found


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack that has run two days of the demo, in the manner of Google Cloud's logs, and is up."""
    made = tmp_path_factory.mktemp("lines") / "millrace"
    made.mkdir()
    (made / "ports.json").write_text(json.dumps({service: free_port() for service in PREFERRED_PORTS}))
    try:
        for command in (("up",), ("run", "--days", "2", "--exit")):  # what was up stays up
            done = local(made, *command, env={"MILLRACE_LOGS": "json"})
            assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        local(made, "down")


def test_a_run_in_which_all_goes_well_hits_no_alert(state: Path) -> None:
    lines = lines_of(state)
    assert hits(lines) <= INNOCENT
    assert hits(lines) >= {"merges", "merges_complete"}
    told = {line["event"] for line in lines if "event" in line}
    assert told <= set(EVENTS)
    assert told >= {
        "sync.started",
        "sync.ended",
        "stream.landed",
        "gateway.accepted",
        "merge.opened",
        "merge.committed",
    }


def test_each_failure_on_the_way_hits_its_alert_and_no_other(state: Path) -> None:
    stack = Stack(state)

    def new(since: datetime) -> set[str]:
        return hits([line for line in lines_of(state) if datetime.fromisoformat(line["time"]) >= since]) - INNOCENT

    since = now()
    land(stack.platform.lake, parquet([airline("QA", "good", LSN + 1)]), b"no parquet at all")
    wait_until(lambda: "quarantined" in new(since), "the refused file is in the log", 120)
    assert new(since) == {"quarantined"}
    since = now()
    assert stack.run("merge/merge", source=SOURCE, stream="nope").state == "FAILED"
    wait_until(lambda: "runs_failed" in new(since), "the failed run is in the log", 30)
    assert new(since) == {"runs_failed"}
    since = now()
    with stack.secret_disabled("airbyte-client-id"):
        assert stack.run("ingest/ingest", source=SOURCE).state == "FAILED"
    wait_until(lambda: "runs_failed" in new(since), "the failed sync is in the log", 30)
    assert new(since) == {"runs_failed"}
