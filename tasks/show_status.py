"""Renders the status page into the lake, after a run has done its work or failed."""

import logging
import time
from datetime import UTC, datetime
from typing import Any

from prefect import Flow, task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State

from millrace.status.types import Status
from tasks.context import run_id

log = logging.getLogger(__name__)

LIMIT_S = 120


@task(task_run_name="show status", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=LIMIT_S)
def show_status() -> str:
    """Make the page show what this run has done; returns its address, '' when it could not be rendered.

    A page that can't be rendered is told in the log and holds nothing back: the next run renders it.
    """
    address = _render(run_id())
    if address:
        create_link_artifact(address, key="status-page", link_text="The platform's status, as this run left it")
    return address


def show_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Make the page show that a run failed, as a hook of its flow."""
    _render(str(flow_run.id))


def _render(run: str) -> str:
    began = time.monotonic()
    try:
        from millrace.settings import load_settings
        from millrace.status.collect import collect
        from millrace.status.places import status_places
        from millrace.status.publish import publish_page
        from millrace.status.syncs import remember

        places = status_places(load_settings())

        def asked(at: datetime) -> Status:
            status = collect(places, at, own=run)
            remember(places.lake, status)
            return status

        rendered = publish_page(places.lake, asked, lambda: datetime.now(UTC))
    except Exception as error:  # whatever it is, the data is where it belongs
        fields: dict[str, Any] = {"why": f"{type(error).__name__}: {error}"}
        log.warning("status.not_shown", extra={"event": "status.not_shown", "fields": fields})
        return ""
    fields = {"ms": round((time.monotonic() - began) * 1000), "rendered": rendered, "page": places.links.page}
    log.info("status.shown", extra={"event": "status.shown", "fields": fields})
    return places.links.page
