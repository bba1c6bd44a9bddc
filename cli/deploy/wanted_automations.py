"""The automations that the server should have: those of this folder, filled with the place's values."""

import os
from pathlib import Path

from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient

from blocks.names import SLACK
from cli.deploy.automations import load, load_streams, slack_document
from millrace.contracts.source import load_sources
from millrace.settings import load_settings
from millrace.settings.tree import ROOT

DIRECTORY = ROOT / "automations"


def wanted_automations(client: SyncPrefectClient, directory: Path = DIRECTORY) -> list[Automation]:
    """All of a folder, and those for each stream.

    Raises:
        SettingsError: a file is wrong, or the block through which Slack is told is missing.
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
