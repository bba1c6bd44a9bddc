"""The dry run of a deployment on a server that has nothing yet, or less than the settings declare."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from cli.deploy import declared_automations as automations
from cli.deploy.checks import BLOCKS
from cli.deploy.planned import block_changes
from millrace.contracts.source import load_sources
from millrace.domain.errors import SettingsError
from millrace.domain.names import MODEL_SLOT, SHOW_SLOT
from tests.support.servers import ROOT
from tests.unit.test_kubernetes import settings_of

SETTINGS = settings_of("gke")
SECRETS = [SETTINGS.airbyte.client_id_secret, SETTINGS.airbyte.client_secret_secret]
SOURCES = load_sources(ROOT / "sources").values()


class Server:
    """A server with some blocks, by type and name, and no concurrency limit."""

    def __init__(self, blocks: dict[tuple[str, str], dict[str, Any]]) -> None:
        self._blocks = blocks

    def read_block_document_by_name(self, name: str, kind: str) -> SimpleNamespace:
        if (kind, name) not in self._blocks:
            raise ObjectNotFound(Exception())
        return SimpleNamespace(data=self._blocks[kind, name], id="1")

    def read_global_concurrency_limit_by_name(self, name: str) -> None:
        raise ObjectNotFound(Exception(name))


def client(blocks: dict[tuple[str, str], dict[str, Any]]) -> SyncPrefectClient:
    return cast(SyncPrefectClient, Server(blocks))


def test_empty_server_would_get_each_block_and_limit() -> None:
    lines = list(block_changes(client({}), SETTINGS, SOURCES))
    from blocks import MillraceSecret  # imports Google's clients, which takes seconds

    secrets = [f"{MillraceSecret.get_block_type_slug()}/{name}" for name in SECRETS]
    names = [f"{kind}/{name}" for kind, name in BLOCKS] + secrets
    assert lines[: len(names)] == [f"would be created: block {name}" for name in names]
    limits = lines[len(names) :]
    own = [f"would be created: concurrency limit {name}" for name in (MODEL_SLOT, SHOW_SLOT)]
    assert limits[: len(own)] == own
    assert len(limits) == len(own) + sum(len(source.streams) for source in SOURCES)
    assert all(line.startswith("would be created: concurrency limit ") for line in limits)


def test_changed_address_would_be_updated() -> None:
    present: dict[tuple[str, str], dict[str, Any]] = {key: {} for key in BLOCKS}
    present |= {("millrace-secret", name): {} for name in SECRETS}
    lines = list(block_changes(client(present), SETTINGS, SOURCES))
    expected = f"would be updated: block millrace-lake/lake: url is None, and the settings say {SETTINGS.lake.url!r}"
    assert expected in lines


def test_automations_are_planned_without_slacks_block() -> None:
    planned = automations.declared_automations(client({}), planned=True)
    assert len(planned) > 10
    with pytest.raises(SettingsError, match="run `millrace deploy blocks` first"):
        automations.declared_automations(client({}))
