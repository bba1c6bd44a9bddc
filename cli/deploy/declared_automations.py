"""The automations of the folder `automations/`, filled with the values of an environment, and their deployment."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import UUID

from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient, get_client

from blocks.names import SLACK, channel_block
from cli.deploy.automations import apply, load, load_channel, load_marts, load_streams, slack_document
from millrace.contracts.channels import DEFAULT, channel_name, channel_of, secrets_of_channels
from millrace.contracts.marts import mart_promises
from millrace.contracts.source import load_sources
from millrace.domain.errors import SettingsError
from millrace.project import PLATFORM, current_project
from millrace.settings import load_settings

DIRECTORY = PLATFORM / "automations"


def declared_automations(client: SyncPrefectClient, *, planned: bool = False) -> list[Automation]:
    """Load the automations of the platform and of the project, those for each stream included.

    A file of the project replaces the platform's of the same name.

    Args:
        client: the server that has the block of Slack.
        planned: the same command registers the blocks, so that its dry run may not find the block of Slack yet.

    Raises:
        SettingsError: a file is invalid, or the block of Slack is missing.
    """
    project = current_project()
    folders = (DIRECTORY, project.automations)
    settings, sources = load_settings().slack, load_sources(project.sources)
    ui = os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL", "").removesuffix("/api")
    values = {
        "slack": _slack(client, SLACK, planned=planned),
        "ui": ui,
        "channel": DEFAULT,
        "runbook": settings.runbook,
        "published_every_s": str(settings.published_every_s),
    }
    streams = [stream for source in sources.values() for stream in source.streams.values()]
    of_streams = _files([f / "streams" for f in folders])
    marts = mart_promises(project.dbt_project)
    slack = {DEFAULT: values["slack"]}
    for channel in secrets_of_channels(sources.values(), marts):
        slack[channel] = _slack(client, channel_block(channel), planned=planned)
    files = _files(folders)
    automations = load(files, values)
    for channel in list(slack)[1:]:
        automations += load_channel(files, values | {"channel": channel, "slack": slack[channel]})
    for mart in marts:
        to = {"slack": slack[channel_name(mart.channel)]}
        automations += load_marts(_files([f / "marts" for f in folders]), values | to, mart)
    for stream in streams:
        to = {"slack": slack[channel_of(sources, stream.source, stream.stream)]}
        automations += load_streams(of_streams, values | to, [stream])
    return automations


def _files(folders: Iterable[Path]) -> list[Path]:
    """Return the files of the folders in the order of their names; of two with one name the later folder's."""
    by_name = {file.name: file for folder in folders for file in folder.glob("*.yaml")}
    return [by_name[name] for name in sorted(by_name)]


def _slack(client: SyncPrefectClient, block: str, *, planned: bool) -> str:
    try:
        return slack_document(client, block)
    except SettingsError:
        if planned:
            return str(UUID(int=0))
        raise


def check_automations(*, planned: bool = False) -> str:
    """Check that every automation can be applied, and change nothing; return a summary.

    Raises:
        SettingsError: a file is invalid, or the block of Slack is missing (and not `planned`).
    """
    with get_client(sync_client=True) as client:
        changes = apply(declared_automations(client, planned=planned), dry_run=True, client=client)
    would_change = sum(change != "unchanged" for change in changes.values())
    return f"{len(changes)} automations can be applied, {would_change} would change"


def deploy_automations(*, dry_run: bool, whole: bool = False) -> Iterator[str]:
    """Apply the automations; yield a line for each. Raises SettingsError as `declared_automations` does.

    With `whole`, the same command deploys the blocks.
    """
    with get_client(sync_client=True) as client:
        declared = declared_automations(client, planned=dry_run and whole)
        changes = apply(declared, dry_run=dry_run, client=client)
    for name, change in changes.items():
        yield f"{'would be ' if dry_run and change != 'unchanged' else ''}{change}: {name}"
