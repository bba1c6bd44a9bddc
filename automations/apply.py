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

from contracts.errors import SettingsError

SLACK_TYPE = "slack-incoming-webhook"
FIELDS = ("name", "description", "enabled", "trigger", "actions", "actions_on_trigger", "actions_on_resolve", "tags")
Change = Literal["created", "updated", "unchanged"]


def load(directory: Path, values: dict[str, str]) -> list[Automation]:
    """All automations of a directory, `${…}` filled.

    Raises:
        SettingsError: a file is wrong; the message names it.
    """
    return [_load(path, values) for path in sorted(directory.glob("*.yaml"))]


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
        raise SettingsError(f"no block {SLACK_TYPE}/{name}; run `python -m blocks.register` first") from None


def apply(automations: Iterable[Automation], *, dry_run: bool = False) -> dict[str, Change]:
    """Bring the server to what the files say; returns what became of each, by name. Again: nothing changes."""
    done: dict[str, Change] = {}
    for wanted in automations:
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


def _find(name: str) -> Automation | None:
    try:
        return cast(Automation, Automation.read(name=name))
    except ValueError:
        return None


def _content(automation: Automation) -> dict[str, Any]:
    """What a file decides of an automation; ids that the server gives are left out."""
    data = automation.model_dump(mode="json", include=set(FIELDS))
    data["trigger"].pop("id", None)
    return data
