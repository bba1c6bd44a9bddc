"""All block classes, for Prefect's entry point `prefect.collections`, which finds the class of a block document."""

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
