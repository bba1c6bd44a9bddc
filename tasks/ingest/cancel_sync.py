"""Cancels the Airbyte job of a flow run that a person cancelled."""

import logging
from typing import Any

from millrace.domain.errors import MillraceError
from tasks.context import airbyte_block, open_lake
from tasks.started_syncs import recall_sync

log = logging.getLogger(__name__)


def cancel_sync(flow: object, flow_run: Any, state: object) -> None:
    """Hook of a cancelled flow run: cancel the job that it started; one that it only attached to goes on.

    What the job wrote before is landed by the next `reconcile`.
    """
    try:
        started = recall_sync(open_lake(), str(flow_run.id))
        if started is None or started.attached:
            return
        with airbyte_block().open() as client:
            client.cancel_job(started.job_id)
        log.info("sync.cancelled", extra={"event": "sync.cancelled", "fields": started.model_dump(mode="json")})
    except MillraceError as error:  # a hook that raises is only a line in a log: say which job goes on
        log.error("sync.not_cancelled", extra={"event": "sync.not_cancelled", "fields": {"error": str(error)}})
