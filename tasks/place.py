"""Where tasks find lake, warehouse, event bus and Airbyte: the registered blocks, opened."""

from typing import TYPE_CHECKING, cast

from blocks import MillraceEventBus, MillraceLake, MillraceWarehouse
from blocks import names as block_names
from events.bus import EventBus
from lake.store import Lake
from warehouse.port import Warehouse

if TYPE_CHECKING:
    from blocks import MillraceAirbyte


def open_lake() -> Lake:
    """The lake."""
    return cast(MillraceLake, MillraceLake.load(block_names.LAKE)).open()


def open_warehouse() -> Warehouse:
    """The warehouse."""
    return cast(MillraceWarehouse, MillraceWarehouse.load(block_names.WAREHOUSE)).open()


def open_bus() -> EventBus:
    """The event bus."""
    return cast(MillraceEventBus, MillraceEventBus.load(block_names.EVENT_BUS)).open()


def airbyte_block() -> "MillraceAirbyte":
    """Airbyte's address, credentials and limits."""
    from blocks import MillraceAirbyte  # imports Google's integration, which most runs do not need

    return cast(MillraceAirbyte, MillraceAirbyte.load(block_names.AIRBYTE))
