"""Bodies of sources, destinations and connections in, what the API keeps of them out."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from local.airbyte.connectors import DESTINATION_IMAGE, Connector, definition_id
from local.airbyte.store import Body, Store
from local.airbyte.sync import MODES
from local.airbyte.wrong import Wrong

WORKSPACE: Body = {"workspaceId": str(uuid.UUID(int=1)), "name": "Default Workspace", "dataResidency": "auto"}


@dataclass(frozen=True)
class Resource:
    """One kind of item: its path and id, what can't be changed, and how a body is completed and checked."""

    path: str
    id_field: str
    fixed: tuple[str, ...]
    complete: Callable[[Body], Body]


def resources(store: Store, connectors: dict[str, Connector]) -> list[Resource]:
    """Sources, destinations and connections."""

    def source(body: Body) -> Body:
        wanted = body.get("definitionId") or definition_id(str(_part(body, "configuration").get("sourceType")))
        if wanted not in connectors:
            known = ", ".join(f"{c.image} = {c.definition_id}" for c in connectors.values())
            raise Wrong(400, f"no source definition {wanted}; this server has {known}")
        _workspace(body)
        return {"sourceType": connectors[wanted].image, "definitionId": wanted} | body | {
            "configuration": _part(body, "configuration")
        }  # fmt: skip

    def destination(body: Body) -> Body:
        kind = str(_part(body, "configuration").get("destinationType", "gcs"))
        if kind != "gcs":
            raise Wrong(400, f"destinationType {kind!r} is unknown here; this server only writes gcs")
        _workspace(body)
        return {"destinationType": kind, "definitionId": definition_id(DESTINATION_IMAGE)} | body

    def connection(body: Body) -> Body:
        for kind, field in (("sources", "sourceId"), ("destinations", "destinationId")):
            if store.get(kind, str(body.get(field))) is None:
                raise Wrong(404, f"no such {field}: {body.get(field)}")
        body = DEFAULT_CONNECTION | {"workspaceId": WORKSPACE["workspaceId"]} | body
        _check_connection(body)
        return body

    return [
        Resource("sources", "sourceId", ("sourceId", "workspaceId", "definitionId"), source),
        Resource("destinations", "destinationId", ("destinationId", "workspaceId", "definitionId"), destination),
        Resource(
            "connections", "connectionId", ("connectionId", "workspaceId", "sourceId", "destinationId"), connection
        ),
    ]


DEFAULT_CONNECTION: Body = {
    "status": "active",
    "schedule": {"scheduleType": "manual"},
    "namespaceDefinition": "destination",
    "namespaceFormat": "${SOURCE_NAMESPACE}",
    "configurations": {"streams": []},
    "dataResidency": "auto",
}


def _check_connection(body: Body) -> None:
    if body["status"] not in ("active", "inactive"):
        raise Wrong(400, f"status {body['status']!r} is unknown; write active or inactive")
    if _part(body, "schedule").get("scheduleType") != "manual":
        raise Wrong(400, "this server starts no syncs itself; write schedule {scheduleType: manual}")
    names = set()
    for stream in _part(body, "configurations").get("streams") or []:
        if not isinstance(stream, dict) or not stream.get("name"):
            raise Wrong(400, f"a stream must be an object with a name, not {stream!r}")
        if stream.get("syncMode", "full_refresh_overwrite") not in MODES:
            raise Wrong(400, f"stream {stream['name']}: syncMode must be one of {', '.join(MODES)}")
        if stream["name"] in names:
            raise Wrong(400, f"stream {stream['name']} is configured twice")
        names.add(stream["name"])


def _workspace(body: Body) -> None:
    if body.get("workspaceId") != WORKSPACE["workspaceId"]:
        raise Wrong(404, f"no such workspaceId: {body.get('workspaceId')}; this server has {WORKSPACE['workspaceId']}")


def _part(body: Body, name: str) -> Body:
    part = body.get(name)
    if not isinstance(part, dict):
        raise Wrong(400, f"{name} must be an object, not {part!r}")
    return part
