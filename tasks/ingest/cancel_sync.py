"""Cancels the Airbyte job of a cancelled flow run."""

import logging
from typing import Any

from millrace.domain.errors import MillraceError
from millrace.observability.events import log_event
from tasks.context import airbyte_block, open_lake
from tasks.started_syncs import recall_sync

log = logging.getLogger(__name__)


def cancel_sync(flow: object, flow_run: Any, state: object) -> None:
    """Cancel the job that a cancelled flow run started; a job that it only attached to continues.

    The next `reconcile` lands the rows that the job has written.
    """
    try:
        started = recall_sync(open_lake(), str(flow_run.id))
        if started is None or started.attached:
            return
        with airbyte_block().open() as client:
            client.cancel_job(started.job_id)
        log_event(log, logging.INFO, "sync.cancelled", **started.model_dump(mode="json"))
    except MillraceError as error:  # Prefect only logs what a hook raises: log which job continues instead
        log_event(log, logging.ERROR, "sync.not_cancelled", error=str(error))
