"""Applies automations by name: creates missing ones, updates those that differ, leaves the rest unchanged."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any, Literal, cast

import yaml
from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from millrace.command_line import command_line
from millrace.contracts.marts import MartPromise
from millrace.contracts.stream import StreamContract
from millrace.domain.errors import SettingsError
from millrace.domain.names import stream_resource
from millrace.domain.remedies import rooted

SLACK_TYPE = "slack-incoming-webhook"
FIELDS = ("name", "description", "enabled", "trigger", "actions", "actions_on_trigger", "actions_on_resolve", "tags")
OURS = ("Millrace: ", "Millrace watchdog: ")
FOLLOWS_PAUSES = "follows-pauses"
"""The tag of automations that a pause disables; a deployment leaves them as the server has them."""
PAGE = 200
Change = Literal["created", "updated", "unchanged", "deleted"]


def load(files: Iterable[Path], values: dict[str, str]) -> list[Automation]:
    """Load an automation from each file, `${…}` filled.

    Raises:
        SettingsError: a file is invalid; the message names it.
    """
    return [_load(path, values) for path in files]


def load_streams(files: Sequence[Path], values: dict[str, str], streams: Iterable[StreamContract]) -> list[Automation]:
    """Load the automations of the files once for each stream whose contract declares freshness.

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
            automations += load(files, values | own)
    return automations


def load_marts(files: Sequence[Path], values: dict[str, str], mart: MartPromise) -> list[Automation]:
    """Load the automations of the files for a mart whose model promises a freshness.

    Raises:
        SettingsError: a file is invalid; the message names it.
    """
    own = {
        "mart": mart.mart,
        "freshness": mart.freshness,
        "freshness_s": str(mart.freshness_s),
        "owner": mart.owner or "unknown",
    }
    return load(files, values | own)


def load_channel(files: Iterable[Path], values: dict[str, str]) -> list[Automation]:
    """Load the automations that match a channel once more for a further channel, whose name theirs then ends with.

    Raises:
        SettingsError: a file is invalid; the message names it.
    """
    routed = [path for path in files if "${channel}" in path.read_text()]
    return [a.model_copy(update={"name": f"{a.name} ({values['channel']})"}) for a in load(routed, values)]


def _load(path: Path, values: dict[str, str]) -> Automation:
    try:
        text = rooted(path.read_text(), command_line().replace("$", "$$"))
        return Automation.model_validate(yaml.safe_load(Template(text).substitute(values)))
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
        if existing is not None and FOLLOWS_PAUSES in automation.tags:
            automation.enabled = existing.enabled
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
