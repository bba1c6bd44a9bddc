"""The lake and the warehouse that the settings name."""

from collections.abc import Iterator
from contextlib import contextmanager

from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.settings import load_settings
from millrace.warehouse.engines import open_warehouse
from millrace.warehouse.port import Warehouse


def open_platform_lake() -> Lake:
    """Open the lake of the settings."""
    settings = load_settings().lake
    return open_lake(settings.url, settings.endpoint)


@contextmanager
def platform_warehouse() -> Iterator[Warehouse]:
    """Open the warehouse of the settings for a block."""
    warehouse = open_warehouse(load_settings().warehouse)
    try:
        yield warehouse
    finally:
        warehouse.close()
