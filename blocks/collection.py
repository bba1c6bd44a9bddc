"""All classes that Prefect finds by its entry point `prefect.collections`: those of block documents, and the worker."""

from blocks.airbyte import MillraceAirbyte
from blocks.event_bus import MillraceEventBus
from blocks.lake import MillraceLake, MillraceResults
from blocks.secrets import MillraceCredentials, MillraceSecret
from blocks.warehouse import MillraceWarehouse
from millrace.worker.warm_worker import WarmWorker

__all__ = [
    "MillraceAirbyte",
    "MillraceCredentials",
    "MillraceEventBus",
    "MillraceLake",
    "MillraceResults",
    "MillraceSecret",
    "MillraceWarehouse",
    "WarmWorker",
]
