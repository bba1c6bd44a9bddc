"""Which runs serve a stored event: those that do what it asks for, and began after it or in its trigger's window."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from tasks.reconcile.start_requested import FLOWS, WINDOW, Run, parameters, serves
from tests.support.servers import ROOT

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def request(streams: list[str] | None = None, source: str = "shop") -> dict[str, Any]:
    payload = {"v": 1, "source": source, "streams": streams, "reason": "a test"}
    return {"event": "source.requested", "occurred": AT.isoformat(), "payload": payload}


def ingest(after_s: float = 1, **parameters_of: Any) -> Run:
    return Run("ingest", {"source": "shop", "streams": None} | parameters_of, AT + timedelta(seconds=after_s))


@pytest.mark.parametrize(
    ("run", "event", "served"),
    [
        (ingest(), request(), True),
        (ingest(-WINDOW.total_seconds()), request(), True),
        (ingest(-WINDOW.total_seconds() - 1), request(), False),
        (ingest(source="other"), request(), False),
        (ingest(), request(["orders"]), True),
        (ingest(streams=["orders", "items"]), request(["orders"]), True),
        (ingest(streams=["items"]), request(["orders"]), False),
        (ingest(streams=["items"]), request(), False),
        (Run("rotation", {}, AT), request(), False),
        (Run("rotation", {}, AT), {"event": "secret.rotated", "occurred": AT.isoformat(), "payload": {}}, True),
        (Run("rotation", {}, AT - timedelta(hours=1)), {"event": "secret.rotated", "occurred": AT.isoformat()}, False),
    ],
)
def test_run_serves_what_was_asked_before(run: Run, event: dict[str, Any], served: bool) -> None:
    assert serves(run, event) == served


def test_parameters_are_those_of_the_triggers() -> None:
    """The windows and the parameters' names are those of prefect.yaml."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    triggers = {
        expected: (deployment["name"], trigger)
        for deployment in deployments
        for trigger in deployment.get("triggers", [])
        for expected in trigger["expect"]
        if expected in FLOWS
    }
    assert {event: flow for event, (flow, _) in triggers.items()} == FLOWS
    for event, (_, trigger) in triggers.items():
        pushed = request() | {"event": event}
        assert trigger["within"] == WINDOW.total_seconds()
        assert parameters(pushed).keys() == trigger.get("parameters", {}).keys()
