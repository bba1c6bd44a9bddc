"""Applies the automations by name: creates those that are missing, updates those that differ, leaves the rest alone."""

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
    """All automations of a directory, `${…}` filled.

    Raises:
        SettingsError: a file is wrong; the message names it.
    """
    return [_load(path, values) for path in sorted(directory.glob("*.yaml"))]


def load_streams(directory: Path, values: dict[str, str], streams: Iterable[StreamContract]) -> list[Automation]:
    """The automations of a directory once for each stream whose contract says how fresh its data is.

    Raises:
        SettingsError: a file is wrong; the message names it.
    """
    made = []
    for stream in streams:
        if stream.freshness_s:
            own = {
                "stream": stream.id,
                "resource": stream_resource(stream.source, stream.stream),
                "freshness": stream.freshness or "",
                "freshness_s": str(stream.freshness_s),
                "owner": stream.owner or "unknown",
            }
            made += load(directory, values | own)
    return made


def _load(path: Path, values: dict[str, str]) -> Automation:
    try:
        return Automation.model_validate(yaml.safe_load(Template(path.read_text()).substitute(values)))
    except KeyError as error:
        raise SettingsError(f"{path}: no value for ${{{error.args[0]}}}; there are {', '.join(values)}") from None
    except (ValidationError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {error}") from None


def slack_document(client: SyncPrefectClient, name: str) -> str:
    """Id of the block through which Slack is told.

    Raises:
        SettingsError: it is not registered.
    """
    try:
        return str(client.read_block_document_by_name(name, SLACK_TYPE).id)
    except ObjectNotFound:
        raise SettingsError(f"no block {SLACK_TYPE}/{name}; run `python -m cli.deploy.blocks` first") from None


def apply(
    automations: Iterable[Automation], *, dry_run: bool = False, client: SyncPrefectClient | None = None
) -> dict[str, Change]:
    """Bring the server to what the files say; returns what became of each, by name. Again: nothing changes.

    With a client, automations with our names that no file has any more are deleted.
    """
    done: dict[str, Change] = {}
    wanted_ones = list(automations)
    for automation in _ours(client) if client else ():
        if automation["name"] not in {wanted.name for wanted in wanted_ones}:
            done[automation["name"]] = "deleted"
            if client and not dry_run:
                client.request("DELETE", "/automations/{id}", path_params={"id": automation["id"]})
    for wanted in wanted_ones:
        there = _find(wanted.name)
        if there is None:
            done[wanted.name] = "created"
            if not dry_run:
                wanted.create()
        elif _content(there) == _content(wanted):
            done[wanted.name] = "unchanged"
        else:
            done[wanted.name] = "updated"
            if not dry_run:
                wanted.id = there.id
                wanted.update()
    return done


def _ours(client: SyncPrefectClient) -> list[dict[str, Any]]:
    """Automations whose names say that they are ours."""
    found: list[dict[str, Any]] = []
    while page := client.request("POST", "/automations/filter", json={"limit": PAGE, "offset": len(found)}).json():
        found += page
    return [automation for automation in found if automation["name"].startswith(OURS)]


def _find(name: str) -> Automation | None:
    try:
        return cast(Automation, Automation.read(name=name))
    except ValueError:
        return None


def _content(automation: Automation) -> dict[str, Any]:
    """What a file decides of an automation; ids that the server gives are left out."""
    data = automation.model_dump(mode="json", include=set(FIELDS))
    data["trigger"].pop("id", None)
    data["trigger"] = in_order(data["trigger"])
    return data


def in_order(value: Any) -> Any:
    """A trigger with its sets (of event names, of labels) in order: each process writes them in another one."""
    if isinstance(value, dict):
        return {key: in_order(part) for key, part in value.items()}
    if isinstance(value, list):
        return sorted(value) if all(isinstance(part, str) for part in value) else [in_order(part) for part in value]
    return value
