"""Prefect blocks for lake, results, warehouse, event bus, Airbyte and secrets; each is imported on first use.

Google's integration alone takes over two seconds of CPU to import, and most flow runs need no secret.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blocks.airbyte import MillraceAirbyte
    from blocks.event_bus import MillraceEventBus
    from blocks.lake import MillraceLake, MillraceResults
    from blocks.secrets import MillraceCredentials, MillraceSecret
    from blocks.warehouse import MillraceWarehouse

__all__ = [
    "MillraceAirbyte",
    "MillraceCredentials",
    "MillraceEventBus",
    "MillraceLake",
    "MillraceResults",
    "MillraceSecret",
    "MillraceWarehouse",
]
MODULES = {
    "MillraceAirbyte": "blocks.airbyte",
    "MillraceCredentials": "blocks.secrets",
    "MillraceEventBus": "blocks.event_bus",
    "MillraceLake": "blocks.lake",
    "MillraceResults": "blocks.lake",
    "MillraceSecret": "blocks.secrets",
    "MillraceWarehouse": "blocks.warehouse",
}


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return getattr(import_module(MODULES[name]), name)
    raise AttributeError(f"module 'blocks' has no attribute {name!r}")
