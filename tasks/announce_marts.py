"""Publishes that the marts were replaced."""

from prefect import task

from blocks import MillraceEventBus
from blocks import names as block_names
from contracts.events import MartsPublished
from contracts.model import Published
from tasks.retries import DELAYS_S, is_transient


@task(task_run_name="announce marts", retries=5, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient)
def announce_marts(published: Published) -> str:
    """Publish `marts-published`; returns the message's id."""
    bus = MillraceEventBus.load(block_names.EVENT_BUS).open()
    return bus.publish(MartsPublished(**published.model_dump()))
