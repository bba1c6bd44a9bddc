"""Prefect blocks over lake, warehouse, event bus, Airbyte, secrets and alerts."""

from blocks.airbyte import MillraceAirbyte
from blocks.lake import MillraceLake, MillraceResults
from blocks.secrets import MillraceCredentials, MillraceSecret
from blocks.warehouse import MillraceEventBus, MillraceWarehouse

__all__ = [
    "MillraceAirbyte",
    "MillraceCredentials",
    "MillraceEventBus",
    "MillraceLake",
    "MillraceResults",
    "MillraceSecret",
    "MillraceWarehouse",
]
