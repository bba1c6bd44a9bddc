"""What tasks work with: the registered blocks, opened; the contracts; the run."""

from typing import TYPE_CHECKING

from prefect.runtime import flow_run

from blocks import MillraceEventBus, MillraceLake, MillraceWarehouse
from blocks import names as block_names
from blocks.load import registered
from millrace.contracts.source import SourceContract, find_source, load_sources
from millrace.contracts.stream import StreamContract
from millrace.events.bus import EventBus
from millrace.events.dead_letters import DeadLetters
from millrace.lake.store import Lake
from millrace.settings.tree import ROOT
from millrace.warehouse.port import Warehouse
from millrace.warehouse.reader import Read

if TYPE_CHECKING:
    from blocks import MillraceAirbyte


SOURCES = ROOT / "sources"


def run_id() -> str:
    """Id of the flow run that this task belongs to."""
    return str(flow_run.id)


def source_contract(source: str) -> SourceContract:
    """Contract of a source. Raises UnknownStream, and ContractError when a file is wrong."""
    return find_source(load_sources(SOURCES), source)


def stream_contract(source: str, stream: str) -> StreamContract:
    """Contract of a stream. Raises UnknownStream, and ContractError when a file is wrong."""
    return source_contract(source).stream(stream)


def wanted_sources(source: str | None) -> list[SourceContract]:
    """The contract of one source, or of all. Raises UnknownStream, and ContractError when a file is wrong."""
    sources = load_sources(SOURCES)
    return [find_source(sources, source)] if source else list(sources.values())


def open_lake() -> Lake:
    """The lake."""
    return registered(MillraceLake, block_names.LAKE).open()


def open_warehouse() -> Warehouse:
    """The warehouse."""
    return registered(MillraceWarehouse, block_names.WAREHOUSE).open()


def open_marts() -> Read:
    """The published marts, as readers see them."""
    return registered(MillraceWarehouse, block_names.WAREHOUSE).open_marts()


def open_bus() -> EventBus:
    """The event bus."""
    return registered(MillraceEventBus, block_names.EVENT_BUS).open()


def open_dead_letters() -> DeadLetters:
    """What the event bus could not deliver."""
    return registered(MillraceEventBus, block_names.EVENT_BUS).open_dead_letters()


def open_secret(name: str) -> str:
    """Newest value of a secret in Secret Manager. Raises SecretError, ServiceUnavailable."""
    from blocks.secrets import MillraceCredentials  # imports Google's integration, as below
    from millrace.secrets import read_secret

    return read_secret(registered(MillraceCredentials, block_names.CREDENTIALS), name)


def airbyte_block() -> "MillraceAirbyte":
    """Airbyte's address, credentials and limits."""
    from blocks import MillraceAirbyte  # imports Google's integration, which most runs do not need

    return registered(MillraceAirbyte, block_names.AIRBYTE)
