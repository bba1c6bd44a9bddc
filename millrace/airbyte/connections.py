"""Makes Airbyte agree with `sources/*.yaml`: a plan of what differs, and its application; by name, again: nothing.

A definition, a source and a connection per file, and one destination: the lake. Secrets are sent as references
(`secret_coordinate::<name>`), which Airbyte resolves from Secret Manager on use.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from millrace.airbyte.client import ACTIVE, AirbyteClient
from millrace.airbyte.differences import Sent, differences, filled
from millrace.contracts.source import MANUAL, SecretReference, SourceContract, load_manifest
from millrace.domain.errors import SettingsError
from millrace.domain.names import RAW
from millrace.settings.tree import ROOT

DESTINATION = "millrace-lake"
PATH_FORMAT = RAW + "${NAMESPACE}/${STREAM_NAME}/sync_id=${SYNC_ID}/"
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
    """A secret as Airbyte resolves it itself."""
    return f"secret_coordinate::{name}"


@dataclass(frozen=True)
class Change:
    """What is to be done to one item; `lines` say why, and hold no secret."""

    kind: str
    name: str
    action: Action
    lines: tuple[str, ...] = ()
    item_id: str = ""
    body: Json = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return "\n".join([f"{SIGNS[self.action]} {self.kind} {self.name}", *(f"    {line}" for line in self.lines)])


class Connections:
    """Airbyte's definitions, sources, destinations and connections, beside what is wanted."""

    def __init__(
        self, client: AirbyteClient, lake_url: str, sent: Sent = by_reference, folder: Path = ROOT / "sources"
    ) -> None:
        self._client, self._lake_url, self._sent, self._folder = client, lake_url, sent, folder
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
        """What is to be done, in order. `prune`: also delete what no source declares; `force`: send again what agrees.

        Raises:
            SettingsError: Airbyte's source of that name has another connector, which can't be changed.
        """
        there = {kind: self._client.pages(path) for kind, path in self._paths.items()}
        sources = list(sources)
        wanted = {("destination", DESTINATION): destination(self._lake_url)}
        for source in sources:
            _check_connector(there, source)
            wanted[definition_of(source)] = self._definition(source)
            wanted["source", source.source] = {"configuration": source.connector.config}
            wanted["connection", source.source] = connection(source)
        changes = [self._change(there[kind], kind, name, body, force) for (kind, name), body in wanted.items()]
        return changes + (_undeclared(there, {source.source for source in sources}) if prune else [])

    def apply(self, changes: Iterable[Change], sources: Iterable[SourceContract]) -> None:
        """Do what was planned; deletes too."""
        ids = {(change.kind, change.name): change.item_id for change in changes}
        definitions = {source.source: definition_of(source) for source in sources}
        for change in changes:
            path, body = self._paths[change.kind], filled(change.body, self._sent)
            if change.action == "delete":
                self._client.call("DELETE", f"{path}/{change.item_id}")
            elif change.action == "update":
                method = "PUT" if change.kind in ("definition", "manifest") else "PATCH"
                self._client.call(method, f"{path}/{change.item_id}", json=body)
            elif change.action == "create":
                named = {"name": change.name} | self._parents(change, ids, definitions) | body
                made = self._client.call("POST", path, json=named)
                ids[change.kind, change.name] = made[IDS[change.kind]]

    def _definition(self, source: SourceContract) -> Json:
        """A connector's image and tag, or the manifest that it is made of."""
        if source.connector.manifest:
            return {"manifest": load_manifest(self._folder, source)}
        return {"dockerRepository": source.connector.image, "dockerImageTag": source.connector.version}

    def _parents(self, change: Change, ids: dict[Key, str], definitions: dict[str, Key]) -> Json:
        """What an item refers to, of which some is only made now."""
        if change.kind == "connection":
            return {"sourceId": ids["source", change.name], "destinationId": ids["destination", DESTINATION]}
        if change.kind == "source":
            return {"workspaceId": self._workspace, "definitionId": ids[definitions[change.name]]}
        return {"workspaceId": self._workspace} if change.kind in ("destination", "manifest") else {}

    def _change(self, there: list[Json], kind: str, name: str, wanted: Json, force: bool) -> Change:
        found = _find(there, kind, name)
        if found is None:
            return Change(kind, name, "create", body=wanted)
        different = {key: list(differences(found.get(key), part, self._sent, key)) for key, part in wanted.items()}
        changed = {key: wanted[key] for key, lines in different.items() if lines or force}
        if "manifest" in wanted and found["manifest"] != wanted["manifest"] and not different["manifest"]:
            different["manifest"] = ["manifest: parts taken away"]
            changed = wanted
        lines = tuple(line for lines in different.values() for line in lines)
        if kind == "definition" and changed:
            changed = {"name": found["name"]} | wanted  # is replaced whole
        return Change(kind, name, "update" if changed else "keep", lines, str(found[IDS[kind]]), changed)


def _find(items: list[Json], kind: str, name: str) -> Json | None:
    field_name = "dockerRepository" if kind == "definition" else "name"
    found = [item for item in items if item.get(field_name) == name]
    return min(found, key=lambda item: item.get("status", ACTIVE) != ACTIVE, default=None)


def definition_of(source: SourceContract) -> Key:
    """What a source's definition goes by: its image, or its own name when it has a manifest."""
    return ("manifest", source.source) if source.connector.manifest else ("definition", source.connector.image)


def destination(lake_url: str) -> Json:
    """Airbyte's GCS destination: Parquet in the lake's bucket, one folder per sync."""
    hmac_id, hmac_secret = (SecretReference(secret=name) for name in HMAC)
    return {
        "configuration": {
            "destinationType": "gcs",
            "gcs_bucket_name": lake_url.removeprefix("gs://"),
            "gcs_bucket_path": "",
            "gcs_path_format": PATH_FORMAT,
            "format": {"format_type": "Parquet", "compression_codec": "SNAPPY"},
            "credential": {
                "credential_type": "HMAC_KEY",
                "hmac_key_access_id": hmac_id,
                "hmac_key_secret": hmac_secret,
            },
        }
    }


def connection(source: SourceContract) -> Json:
    """A source's streams into the lake, in folders of the source's name, at its own times."""
    manual = source.schedule == MANUAL
    schedule = {"scheduleType": "manual"} if manual else {"scheduleType": "cron", "cronExpression": source.schedule}
    return {
        "status": ACTIVE,
        "namespaceDefinition": "custom_format",
        "namespaceFormat": source.source,
        "schedule": schedule,
        "configurations": {"streams": [_stream(name, s.mode, s.order, s.key) for name, s in source.streams.items()]},
    }


def _stream(name: str, mode: str, order: tuple[str, ...], key: tuple[str, ...]) -> Json:
    """A stream's mode and key; a cursor only where the source has none of its own."""
    cursor = {"cursorField": list(order[:1])} if mode == "append" and order else {}
    return {"name": name, "syncMode": SYNC_MODES[mode], "primaryKey": [[column] for column in key]} | cursor


def _check_connector(there: dict[str, list[Json]], source: SourceContract) -> None:
    found = _find(there["source"], "source", source.source)
    known = {item["id"]: ("definition", item["dockerRepository"]) for item in there["definition"]}
    known |= {item["id"]: ("manifest", item["name"]) for item in there["manifest"]}
    kind, name = known.get(found["definitionId"], ("", "")) if found else ("", "")
    if kind and (kind, name) != definition_of(source):
        raise SettingsError(
            f"Airbyte's source {source.source!r} has the connector {name!r}, sources/{source.source}.yaml names"
            f" {definition_of(source)[1]!r}; a connector can't be exchanged: delete the source in Airbyte, apply again,"
            " and raise the source's `epoch`"
        )


def _undeclared(there: dict[str, list[Json]], declared: set[str]) -> list[Change]:
    """Connections into the lake that no file declares, each with its source; others are not ours."""
    lake = _find(there["destination"], "destination", DESTINATION)
    ours = [c for c in there["connection"] if lake and c.get("destinationId") == lake["destinationId"]]
    changes = []
    for gone in (c for c in ours if c["name"] not in declared):
        why = (f"no file sources/{gone['name']}.yaml declares it",)
        changes.append(Change("connection", gone["name"], "delete", why, gone["connectionId"]))
        users = [c for c in there["connection"] if c.get("sourceId") == gone.get("sourceId")]
        if len(users) == 1:
            changes.append(Change("source", gone["name"], "delete", why, gone["sourceId"]))
    return changes


def apply(client: AirbyteClient, source: SourceContract, lake_url: str) -> Action:
    """Make one source's connection exist and agree; returns the most that was done."""
    connections = Connections(client, lake_url)
    changes = connections.plan([source])
    connections.apply(changes, [source])
    return max((change.action for change in changes), key=["keep", "update", "create"].index)
