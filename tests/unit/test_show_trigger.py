"""The trigger of `show` in prefect.yaml, by Prefect's own evaluation: which events start it, and in which window."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.server.events.schemas.automations import EventTrigger
from prefect.server.events.schemas.events import ReceivedEvent

from cli.deploy.checks import VARIABLE, load_deployments
from tests.support.servers import ROOT


@pytest.fixture
def declared() -> dict[str, Any]:
    """Return the deployments of the platform, with 7 for every variable."""
    text = (ROOT / "prefect.yaml").read_text()
    return {d["name"]: d for d in load_deployments(text, dict.fromkeys(VARIABLE.findall(text), "7"))}


def event(name: str, flow: str) -> ReceivedEvent:
    """Return an event as the server sends it for a run of a flow that changes its state."""
    related = [
        {
            "prefect.resource.id": f"prefect.flow.{uuid4()}",
            "prefect.resource.role": "flow",
            "prefect.resource.name": flow,
        }
    ]
    resource = {"prefect.resource.id": f"prefect.flow-run.{uuid4()}"}
    return ReceivedEvent.model_validate(
        {"event": name, "resource": resource, "related": related, "occurred": datetime.now(UTC), "id": uuid4()}
    )


@pytest.mark.parametrize(
    ("state", "flow", "starts"),
    [
        ("Completed", "model", True),
        ("Refused", "model", True),
        ("Failed", "model", True),
        ("Crashed", "model", True),
        ("Running", "model", False),
        ("Completed", "merge", False),
        ("Completed", "show", False),
    ],
)
def test_end_of_a_model_run_starts_show(declared: dict[str, Any], state: str, flow: str, starts: bool) -> None:
    (fields,) = declared["show"]["triggers"]
    own = {name: value for name, value in fields.items() if name not in ("enabled", "schedule_after")}
    trigger = EventTrigger.model_validate({"posture": "Reactive", **own})  # the default of a deployment's trigger
    ended = event(f"prefect.flow-run.{state}", flow)
    assert (trigger.covers(ended) and trigger.expects(ended.event)) == starts
    assert (trigger.within, trigger.threshold, trigger.for_each) == (timedelta(seconds=7), 1, set())
    assert fields["schedule_after"] == "PT7S", "the run begins when the window is over, so that it shows all of it"


def test_show_runs_where_the_model_runs(declared: dict[str, Any]) -> None:
    assert declared["show"]["work_pool"] == declared["model"]["work_pool"]
