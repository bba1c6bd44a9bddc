"""Context of a task: its run, the data contracts, and the opened clients of the registered blocks."""

from pathlib import Path
from typing import TYPE_CHECKING

from prefect.runtime import flow_run

from blocks import MillraceEventBus, MillraceLake, MillraceWarehouse
from blocks import names as block_names
from blocks.load import load_block
from millrace.contracts.source import SourceContract, find_source, load_sources
from millrace.contracts.stream import StreamContract
from millrace.events.bus import EventBus
from millrace.events.dead_letters import DeadLetters
from millrace.lake.store import Lake
from millrace.project import current_project
from millrace.warehouse.port import Warehouse
from millrace.warehouse.reader import Read

if TYPE_CHECKING:
    from blocks import MillraceAirbyte


def run_id() -> str:
    """Return the id of the flow run that this task belongs to."""
    return str(flow_run.id)


def source_contract(source: str) -> SourceContract:
    """Return the contract of a source. Raises UnknownStream, and ContractError when a file is invalid."""
    return find_source(load_sources(current_project().sources), source)


def stream_contract(source: str, stream: str) -> StreamContract:
    """Return the contract of a stream. Raises UnknownStream, and ContractError when a file is invalid."""
    return source_contract(source).stream(stream)


def select_sources(source: str | None) -> list[SourceContract]:
    """Return the contract of one source, or of all. Raises UnknownStream, and ContractError when a file is invalid."""
    sources = load_sources(current_project().sources)
    return [find_source(sources, source)] if source else list(sources.values())


def open_lake() -> Lake:
    """Return the lake."""
    return load_block(MillraceLake, block_names.LAKE).open()


def open_warehouse() -> Warehouse:
    """Return the warehouse."""
    return load_block(MillraceWarehouse, block_names.WAREHOUSE).open()


def open_marts() -> Read:
    """Return a reader of the published marts."""
    return load_block(MillraceWarehouse, block_names.WAREHOUSE).open_marts()


def export_published(folder: Path) -> list[Path]:
    """Write a Parquet file of each published mart into a folder; return the files."""
    return load_block(MillraceWarehouse, block_names.WAREHOUSE).export_marts(folder)


def open_bus() -> EventBus:
    """Return the event bus."""
    return load_block(MillraceEventBus, block_names.EVENT_BUS).open()


def open_dead_letters() -> DeadLetters:
    """Return the messages that the event bus could not deliver."""
    return load_block(MillraceEventBus, block_names.EVENT_BUS).open_dead_letters()


def open_secret(name: str) -> str:
    """Return the newest value of a secret in Secret Manager. Raises SecretError, ServiceUnavailable."""
    from blocks.secrets import MillraceCredentials  # imports Google's integration, as below
    from millrace.secrets import read_secret

    return read_secret(load_block(MillraceCredentials, block_names.CREDENTIALS), name)


def airbyte_block() -> "MillraceAirbyte":
    """Return the block with Airbyte's address, credentials and limits."""
    from blocks import MillraceAirbyte  # imports Google's integration, which most runs do not need

    return load_block(MillraceAirbyte, block_names.AIRBYTE)
