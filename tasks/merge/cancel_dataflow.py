"""Cancels the Dataflow job of a cancelled merge run."""

import logging
from typing import Any

from millrace.domain.errors import MillraceError
from millrace.observability.events import log_event
from millrace.settings import load_settings
from tasks.context import open_lake

log = logging.getLogger(__name__)


def cancel_dataflow(flow: object, flow_run: Any, state: object) -> None:
    """Cancel the job that a cancelled flow run waits for; the batch stays open for the next run."""
    from beam_job.engines.dataflow import cancel_job  # imports Google's client, which most runs do not need
    from beam_job.engines.dataflow_jobs import DataflowJobs

    try:
        settings = load_settings()
        dataflow = settings.beam.dataflow
        jobs = DataflowJobs(settings.events.project, dataflow.region, dataflow.endpoint)
        source, stream = flow_run.parameters["source"], flow_run.parameters["stream"]
        cancel_job(jobs, open_lake(), source, stream, str(flow_run.id))
    except MillraceError as error:  # Prefect only logs what a hook raises: log which job continues instead
        run, reason = str(flow_run.id), str(error)
        log_event(log, logging.ERROR, "dataflow.not_cancelled", reason, run_id=run, error=reason)
