"""Publishes that the marts were replaced."""

from prefect import task

from contracts.events import MartsPublished
from contracts.model import Published
from tasks.place import open_bus
from tasks.retries import DELAYS_S, is_transient


@task(task_run_name="announce marts", retries=5, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient)
def announce_marts(published: Published) -> str:
    """Publish `marts-published`; returns the message's id."""
    bus = open_bus()
    return bus.publish(MartsPublished(**published.model_dump()))
