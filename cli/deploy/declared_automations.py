"""The automations of the folder `automations/`, filled with the values of an environment, and their deployment."""

import os
from collections.abc import Iterator
from pathlib import Path

from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient, get_client

from blocks.names import SLACK
from cli.deploy.automations import apply, load, load_streams, slack_document
from millrace.contracts.source import load_sources
from millrace.settings import load_settings
from millrace.settings.tree import ROOT

DIRECTORY = ROOT / "automations"


def declared_automations(client: SyncPrefectClient, directory: Path = DIRECTORY) -> list[Automation]:
    """Load all automations of a folder, those for each stream included.

    Raises:
        SettingsError: a file is invalid, or the block of Slack is missing.
    """
    settings, sources = load_settings().slack, load_sources(ROOT / "sources")
    ui = os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL", "").removesuffix("/api")
    values = {
        "slack": slack_document(client, SLACK),
        "ui": ui,
        "runbook": settings.runbook,
        "published_every_s": str(settings.published_every_s),
    }
    streams = [stream for source in sources.values() for stream in source.streams.values()]
    return load(directory, values) + load_streams(directory / "streams", values, streams)


def check_automations() -> str:
    """Check that every automation can be applied, and change nothing; return a summary.

    Raises:
        SettingsError: a file is invalid, or the block of Slack is missing.
    """
    with get_client(sync_client=True) as client:
        changes = apply(declared_automations(client), dry_run=True, client=client)
    would_change = sum(change != "unchanged" for change in changes.values())
    return f"{len(changes)} automations can be applied, {would_change} would change"


def deploy_automations(*, dry_run: bool) -> Iterator[str]:
    """Apply the automations; yield a line for each. Raises SettingsError as `declared_automations` does."""
    with get_client(sync_client=True) as client:
        changes = apply(declared_automations(client), dry_run=dry_run, client=client)
    for name, change in changes.items():
        yield f"{'would be ' if dry_run and change != 'unchanged' else ''}{change}: {name}"
