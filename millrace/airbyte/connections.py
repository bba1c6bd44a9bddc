"""Source contracts in; a plan of changes to Airbyte's items, and their idempotent application, out.

Each file has a definition, a source and a connection, found by name; the one destination is the lake. Secrets are sent
as references (`secret_coordinate::<name>`), which Airbyte resolves from Secret Manager on use.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from millrace.airbyte.client import ACTIVE, INACTIVE, AirbyteClient
from millrace.airbyte.differences import SecretText, differences, fill_secrets
from millrace.contracts.source import MANUAL, SecretReference, SourceContract, load_manifest
from millrace.domain.errors import SettingsError
from millrace.domain.names import RAW
from millrace.project import current_project

DESTINATION = "millrace-lake"
# Below the bucket path, not part of the format: the connector's check writes its test object at the bucket path, and
# Airbyte's account may write nothing outside of it.
BUCKET_PATH = RAW.removesuffix("/")
PATH_FORMAT = "${NAMESPACE}/${STREAM_NAME}/sync_id=${SYNC_ID}/"
SYNC_MODES = {"cdc": "incremental_append", "append": "incremental_append", "overwrite": "full_refresh_overwrite"}
HMAC = ("airbyte-hmac-id", "airbyte-hmac-secret")
IDS = {
    "definition": "id",
    "manifest": "id",
    "source": "sourceId",
    "destination": "destinationId",
    "connection": "connectionId",
}

Json = dict[str, Any]
Key = tuple[str, str]
Action = Literal["create", "update", "keep", "delete"]
SIGNS: dict[Action, str] = {"create": "+", "update": "~", "keep": "=", "delete": "-"}


def by_reference(name: str) -> str:
    """Return the reference to a secret that Airbyte resolves from Secret Manager."""
    return f"secret_coordinate::{name}"


@dataclass(frozen=True)
class Change:
    """A planned action on one item of Airbyte; `lines` are its reasons, without secrets."""

    kind: str
    name: str
    action: Action
    lines: tuple[str, ...] = ()
    item_id: str = ""
    body: Json = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return "\n".join([f"{SIGNS[self.action]} {self.kind} {self.name}", *(f"    {line}" for line in self.lines)])


class Connections:
    """Airbyte's definitions, sources, destinations and connections, compared with the contracts."""

    def __init__(
        self,
        client: AirbyteClient,
        lake_url: str,
        secret_text: SecretText = by_reference,
        folder: Path | None = None,
        paused: Collection[str] = (),
    ) -> None:
        self._client, self._lake_url, self._secret_text = client, lake_url, secret_text
        self._paused = paused
        self._folder = folder or current_project().sources
        self._workspace = client.call("GET", "/workspaces")["data"][0]["workspaceId"]
        definitions = f"/workspaces/{self._workspace}/definitions"
        self._paths = {
            "definition": f"{definitions}/sources",
            "manifest": f"{definitions}/declarative_sources",
            "source": "/sources",
            "destination": "/destinations",
            "connection": "/connections",
        }

    def plan(self, sources: Iterable[SourceContract], *, prune: bool = False, force: bool = False) -> list[Change]:
        """Return the changes in order. `prune`: also delete undeclared items; `force`: send unchanged items again.

        Raises:
            SettingsError: Airbyte's source of that name has another connector, which can't be replaced.
        """
        existing = {kind: self._client.pages(path) for kind, path in self._paths.items()}
        sources = list(sources)
        declared = {("destination", DESTINATION): destination(self._lake_url)}
        for source in sources:
            _check_connector(existing, source)
            declared[definition_of(source)] = self._definition(source)
            declared["source", source.source] = {"configuration": source.connector.config}
            declared["connection", source.source] = connection(source, paused=source.source in self._paused)
        changes = [self._change(existing[kind], kind, name, body, force) for (kind, name), body in declared.items()]
        return changes + (_plan_deletions(existing, {source.source for source in sources}) if prune else [])

    def apply(self, changes: Iterable[Change], sources: Iterable[SourceContract]) -> None:
        """Carry out planned changes, deletions included."""
        ids = {(change.kind, change.name): change.item_id for change in changes}
        definitions = {source.source: definition_of(source) for source in sources}
        for change in changes:
            path, body = self._paths[change.kind], fill_secrets(change.body, self._secret_text)
            if change.action == "delete":
                self._client.call("DELETE", f"{path}/{change.item_id}")
            elif change.action == "update":
                method = "PUT" if change.kind in ("definition", "manifest") else "PATCH"
                self._client.call(method, f"{path}/{change.item_id}", json=body)
            elif change.action == "create":
                named = {"name": change.name} | self._parents(change, ids, definitions) | body
                item = self._client.call("POST", path, json=named)
                ids[change.kind, change.name] = item[IDS[change.kind]]

    def _definition(self, source: SourceContract) -> Json:
        """Return a connector's image and tag, or its declarative manifest."""
        if source.connector.manifest:
            return {"manifest": load_manifest(self._folder, source)}
        return {"dockerRepository": source.connector.image, "dockerImageTag": source.connector.version}

    def _parents(self, change: Change, ids: dict[Key, str], definitions: dict[str, Key]) -> Json:
        """Return the ids that an item refers to; some belong to items that this application created."""
        if change.kind == "connection":
            return {"sourceId": ids["source", change.name], "destinationId": ids["destination", DESTINATION]}
        if change.kind == "source":
            return {"workspaceId": self._workspace, "definitionId": ids[definitions[change.name]]}
        return {"workspaceId": self._workspace} if change.kind in ("destination", "manifest") else {}

    def _change(self, items: list[Json], kind: str, name: str, body: Json, force: bool) -> Change:
        item = _find(items, kind, name)
        if item is None:
            return Change(kind, name, "create", body=body)
        different = {key: list(differences(item.get(key), part, self._secret_text, key)) for key, part in body.items()}
        changed = {key: body[key] for key, lines in different.items() if lines or force}
        if "manifest" in body and item["manifest"] != body["manifest"] and not different["manifest"]:
            different["manifest"] = ["manifest: parts removed"]
            changed = body
        lines = tuple(line for lines in different.values() for line in lines)
        if kind == "definition" and changed:
            changed = {"name": item["name"]} | body  # Airbyte replaces it as a whole
        return Change(kind, name, "update" if changed else "keep", lines, str(item[IDS[kind]]), changed)


def _find(items: list[Json], kind: str, name: str) -> Json | None:
    field_name = "dockerRepository" if kind == "definition" else "name"
    namesakes = [item for item in items if item.get(field_name) == name]
    return min(namesakes, key=lambda item: item.get("status", ACTIVE) != ACTIVE, default=None)


def definition_of(source: SourceContract) -> Key:
    """Return kind and name of a source's definition: its image, or the source's name when it has a manifest."""
    return ("manifest", source.source) if source.connector.manifest else ("definition", source.connector.image)


def destination(lake_url: str) -> Json:
    """Return Airbyte's GCS destination: Parquet in the lake's bucket, one folder per sync."""
    hmac_id, hmac_secret = (SecretReference(secret=name) for name in HMAC)
    return {
        "configuration": {
            "destinationType": "gcs",
            "gcs_bucket_name": lake_url.removeprefix("gs://"),
            "gcs_bucket_path": BUCKET_PATH,
            "gcs_path_format": PATH_FORMAT,
            "format": {"format_type": "Parquet", "compression_codec": "SNAPPY"},
            "credential": {
                "credential_type": "HMAC_KEY",
                "hmac_key_access_id": hmac_id,
                "hmac_key_secret": hmac_secret,
            },
        }
    }


def connection(source: SourceContract, *, paused: bool = False) -> Json:
    """Return the connection of a source's streams to the lake, in folders of the source's name, on its schedule."""
    manual = source.schedule == MANUAL
    schedule = {"scheduleType": "manual"} if manual else {"scheduleType": "cron", "cronExpression": source.schedule}
    return {
        "status": INACTIVE if paused else ACTIVE,
        "namespaceDefinition": "custom_format",
        "namespaceFormat": source.source,
        "schedule": schedule,
        "configurations": {"streams": [_stream(name, s.mode, s.order, s.key) for name, s in source.streams.items()]},
    }


def _stream(name: str, mode: str, order: tuple[str, ...], key: tuple[str, ...]) -> Json:
    """Return a stream's mode and key, and a cursor where the source defines none itself."""
    cursor = {"cursorField": list(order[:1])} if mode == "append" and order else {}
    return {"name": name, "syncMode": SYNC_MODES[mode], "primaryKey": [[column] for column in key]} | cursor


def _check_connector(existing: dict[str, list[Json]], source: SourceContract) -> None:
    item = _find(existing["source"], "source", source.source)
    connectors = {item["id"]: ("definition", item["dockerRepository"]) for item in existing["definition"]}
    connectors |= {item["id"]: ("manifest", item["name"]) for item in existing["manifest"]}
    kind, name = connectors.get(item["definitionId"], ("", "")) if item else ("", "")
    if kind and (kind, name) != definition_of(source):
        raise SettingsError(
            f"Airbyte's source {source.source!r} has the connector {name!r}, sources/{source.source}.yaml names"
            f" {definition_of(source)[1]!r}; a connector can't be replaced: delete the source in Airbyte and apply"
            " again; rows of the new connection get a higher epoch by themselves"
        )


def _plan_deletions(existing: dict[str, list[Json]], declared: set[str]) -> list[Change]:
    """Return the deletion of each undeclared connection into the lake, and of its source; others are not ours."""
    lake = _find(existing["destination"], "destination", DESTINATION)
    ours = [c for c in existing["connection"] if lake and c.get("destinationId") == lake["destinationId"]]
    changes = []
    for gone in (c for c in ours if c["name"] not in declared):
        reason = (f"no file sources/{gone['name']}.yaml declares it",)
        changes.append(Change("connection", gone["name"], "delete", reason, gone["connectionId"]))
        users = [c for c in existing["connection"] if c.get("sourceId") == gone.get("sourceId")]
        if len(users) == 1:
            changes.append(Change("source", gone["name"], "delete", reason, gone["sourceId"]))
    return changes
