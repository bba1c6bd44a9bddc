"""All blocks, for Prefect's entry point `prefect.collections`: whoever meets a block document finds its class."""

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
