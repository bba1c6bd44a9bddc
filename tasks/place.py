"""Where tasks find lake, warehouse, event bus and Airbyte: the registered blocks, opened."""

from typing import TYPE_CHECKING

from blocks import MillraceEventBus, MillraceLake, MillraceWarehouse
from blocks import names as block_names
from blocks.load import registered
from events.bus import EventBus
from events.dead_letters import DeadLetters
from lake.store import Lake
from warehouse.port import Warehouse
from warehouse.reader import Read

if TYPE_CHECKING:
    from blocks import MillraceAirbyte


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
    from blocks.secrets import MillraceCredentials, read_secret  # imports Google's integration, as below

    return read_secret(registered(MillraceCredentials, block_names.CREDENTIALS), name)


def airbyte_block() -> "MillraceAirbyte":
    """Airbyte's address, credentials and limits."""
    from blocks import MillraceAirbyte  # imports Google's integration, which most runs do not need

    return registered(MillraceAirbyte, block_names.AIRBYTE)
