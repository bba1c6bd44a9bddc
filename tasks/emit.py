"""Events of the platform: a fact about a resource in, a Prefect event with version and run id out."""

from collections.abc import Mapping
from typing import Any

from prefect.events import emit_event

from millrace.contracts.channels import channel_of
from millrace.contracts.source import SourceContract, load_sources
from millrace.domain.errors import ContractError
from millrace.project import current_project
from tasks.context import run_id


def emit(event: str, resource: str, payload: Mapping[str, Any], **labels: str) -> None:
    """Emit an event about a resource, with the id of this run; automations match on `labels`, as `millrace.<label>`.

    The label `channel` is that of the source and stream in the payload, whose alerts go there.
    """
    channel = {"channel": channel_of(_sources(), payload.get("source"), payload.get("stream"))}
    emit_event(
        event,
        resource={"prefect.resource.id": resource}
        | {f"millrace.{name}": value for name, value in (channel | labels).items()},
        payload={"v": 1, "run_id": run_id()} | dict(payload),
    )


def _sources() -> dict[str, SourceContract]:
    """Return the contracts; none when a file is invalid, as the alert about just that has to be sent."""
    try:
        return load_sources(current_project().sources)
    except ContractError:
        return {}
