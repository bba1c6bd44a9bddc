"""Applies automations by name: creates missing ones, updates those that differ, leaves the rest unchanged."""

from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any, Literal, cast

import yaml
from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from millrace.contracts.stream import StreamContract
from millrace.domain.errors import SettingsError
from millrace.domain.names import stream_resource

SLACK_TYPE = "slack-incoming-webhook"
FIELDS = ("name", "description", "enabled", "trigger", "actions", "actions_on_trigger", "actions_on_resolve", "tags")
OURS = ("Millrace: ", "Millrace watchdog: ")
PAGE = 200
Change = Literal["created", "updated", "unchanged", "deleted"]


def load(directory: Path, values: dict[str, str]) -> list[Automation]:
    """Load all automations of a directory, `${…}` filled.

    Raises:
        SettingsError: a file is invalid; the message names it.
    """
    return [_load(path, values) for path in sorted(directory.glob("*.yaml"))]


def load_streams(directory: Path, values: dict[str, str], streams: Iterable[StreamContract]) -> list[Automation]:
    """Load the automations of a directory once for each stream whose contract declares freshness.

    Raises:
        SettingsError: a file is invalid; the message names it.
    """
    automations = []
    for stream in streams:
        if stream.freshness_s:
            own = {
                "stream": stream.id,
                "resource": stream_resource(stream.source, stream.stream),
                "freshness": stream.freshness or "",
                "freshness_s": str(stream.freshness_s),
                "owner": stream.owner or "unknown",
            }
            automations += load(directory, values | own)
    return automations


def _load(path: Path, values: dict[str, str]) -> Automation:
    try:
        return Automation.model_validate(yaml.safe_load(Template(path.read_text()).substitute(values)))
    except KeyError as error:
        raise SettingsError(f"{path}: no value for ${{{error.args[0]}}}; expected one of {', '.join(values)}") from None
    except (ValidationError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {error}") from None


def slack_document(client: SyncPrefectClient, name: str) -> str:
    """Return the id of the block that posts to Slack.

    Raises:
        SettingsError: it is not registered.
    """
    try:
        return str(client.read_block_document_by_name(name, SLACK_TYPE).id)
    except ObjectNotFound:
        raise SettingsError(f"no block {SLACK_TYPE}/{name}; run `millrace deploy blocks` first") from None


def apply(
    automations: Iterable[Automation], *, dry_run: bool = False, client: SyncPrefectClient | None = None
) -> dict[str, Change]:
    """Create or update automations on the server; return the change of each, by name. Idempotent.

    With a client, automations with our names and no file are deleted.
    """
    changes: dict[str, Change] = {}
    declared = list(automations)
    names = {automation.name for automation in declared}
    for leftover in _ours(client) if client else ():
        if leftover["name"] not in names:
            changes[leftover["name"]] = "deleted"
            if client and not dry_run:
                client.request("DELETE", "/automations/{id}", path_params={"id": leftover["id"]})
    for automation in declared:
        existing = _find(automation.name)
        if existing is None:
            changes[automation.name] = "created"
            if not dry_run:
                automation.create()
        elif _content(existing) == _content(automation):
            changes[automation.name] = "unchanged"
        else:
            changes[automation.name] = "updated"
            if not dry_run:
                automation.id = existing.id
                automation.update()
    return changes


def _ours(client: SyncPrefectClient) -> list[dict[str, Any]]:
    """Return the server's automations whose names begin as ours do."""
    automations: list[dict[str, Any]] = []
    while page := client.request(
        "POST", "/automations/filter", json={"limit": PAGE, "offset": len(automations)}
    ).json():
        automations += page
    return [automation for automation in automations if automation["name"].startswith(OURS)]


def _find(name: str) -> Automation | None:
    try:
        return cast(Automation, Automation.read(name=name))
    except ValueError:
        return None


def _content(automation: Automation) -> dict[str, Any]:
    """Return the fields that a file sets, without the ids that the server assigns."""
    data = automation.model_dump(mode="json", include=set(FIELDS))
    data["trigger"].pop("id", None)
    data["trigger"] = in_order(data["trigger"])
    return data


def in_order(value: Any) -> Any:
    """Sort the sets (of event names, of labels) of a trigger: each process writes them in another order."""
    if isinstance(value, dict):
        return {key: in_order(part) for key, part in value.items()}
    if isinstance(value, list):
        return sorted(value) if all(isinstance(part, str) for part in value) else [in_order(part) for part in value]
    return value
