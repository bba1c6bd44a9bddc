"""Renders the status page into the lake after a run has changed the platform, or failed."""

import logging
import time
from datetime import UTC, datetime
from typing import Any

from prefect import Flow, task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State

from millrace.observability.events import log_event
from millrace.status.types import Status
from tasks.context import run_id

log = logging.getLogger(__name__)

LIMIT_S = 120


@task(task_run_name="show status", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=LIMIT_S)
def show_status() -> str:
    """Render the page with the results of this run; returns its address, or '' when rendering failed.

    A failure is logged and does not fail the task: the next run renders the page.
    """
    address = _render(run_id())
    if address:
        create_link_artifact(address, key="status-page", link_text="The platform's status, as this run left it")
    return address


def show_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Render the page with the failure of a run, as a hook of its flow."""
    _render(str(flow_run.id))


def _render(run: str) -> str:
    began = time.monotonic()
    try:
        from millrace.settings import load_settings
        from millrace.status.clients import status_clients
        from millrace.status.collect import collect
        from millrace.status.publish import publish_page
        from millrace.status.syncs import remember

        clients = status_clients(load_settings())

        def collect_and_remember(at: datetime) -> Status:
            status = collect(clients, at, own_run=run)
            remember(clients.lake, status)
            return status

        rendered = publish_page(clients.lake, collect_and_remember, lambda: datetime.now(UTC))
    except Exception as error:  # a missing page must not fail a run whose data is committed
        log_event(log, logging.WARNING, "status.not_shown", why=f"{type(error).__name__}: {error}")
        return ""
    milliseconds = round((time.monotonic() - began) * 1000)
    log_event(log, logging.INFO, "status.shown", ms=milliseconds, rendered=rendered, page=clients.links.page)
    return clients.links.page
