"""Log lines of a whole run of the demo, as Cloud Logging would read them, against the filters of every alert."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.stack.ports import PREFERRED_PORTS
from tests.e2e.landing import LSN, SOURCE, airline, land, parquet
from tests.e2e.stack import Stack, local, now
from tests.integration.test_alerts import INNOCENT, hits
from tests.support.servers import ROOT, free_port, wait_until

pytestmark = [pytest.mark.demo, pytest.mark.long]
EVENTS = yaml.safe_load((ROOT / "millrace" / "observability" / "events.yaml").read_text())


def lines_of(state: Path) -> list[dict[str, Any]]:
    """Return the JSON lines that all processes of a stack wrote."""
    lines = []
    for log in sorted((state / "logs").glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                lines.append(json.loads(line))
    return lines


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack that has run two days of the demo, in the manner of Google Cloud's logs, and is up."""
    directory = tmp_path_factory.mktemp("lines") / "millrace"
    directory.mkdir()
    (directory / "ports.json").write_text(json.dumps({service: free_port() for service in PREFERRED_PORTS}))
    try:
        for command in (("up",), ("run", "--days", "2", "--exit")):  # a stack that was up stays up
            completed = local(directory, *command, env={"MILLRACE_LOGS": "json"})
            assert completed.returncode == 0, completed.stdout + completed.stderr
        yield directory
    finally:
        local(directory, "down")


def test_successful_run_triggers_no_alert(state: Path) -> None:
    lines = lines_of(state)
    assert hits(lines) <= INNOCENT
    assert hits(lines) >= {"merges", "merges_complete"}
    events = {line["event"] for line in lines if "event" in line}
    assert events <= set(EVENTS)
    assert events >= {
        "sync.started",
        "sync.ended",
        "stream.landed",
        "gateway.accepted",
        "merge.opened",
        "merge.committed",
    }


def test_each_failure_triggers_only_its_own_alert(state: Path) -> None:
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
