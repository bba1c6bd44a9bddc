"""Events of the platform: a fact about a resource in, a Prefect event with version and run id out."""

from collections.abc import Mapping
from typing import Any

from prefect.events import emit_event

from tasks.context import run_id


def emit(event: str, resource: str, payload: Mapping[str, Any], **labels: str) -> None:
    """Emit an event about a resource, with the id of this run; automations match on `labels`, as `millrace.<label>`."""
    emit_event(
        event,
        resource={"prefect.resource.id": resource} | {f"millrace.{name}": value for name, value in labels.items()},
        payload={"v": 1, "run_id": run_id()} | dict(payload),
    )
