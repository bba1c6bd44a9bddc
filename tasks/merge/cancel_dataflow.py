"""Cancels the Dataflow job of a merge run that a person cancelled."""

import logging
from typing import Any

from millrace.domain.errors import MillraceError
from millrace.settings import load_settings
from tasks.context import open_lake

log = logging.getLogger(__name__)


def cancel_dataflow(flow: object, flow_run: Any, state: object) -> None:
    """Hook of a cancelled flow run: cancel the job that it waits for; the batch stays open for the next run."""
    from beam_job.engines.dataflow import cancel_job  # imports Google's client, which most runs do not need
    from beam_job.engines.dataflow_jobs import DataflowJobs

    try:
        settings = load_settings()
        dataflow = settings.beam.dataflow
        jobs = DataflowJobs(settings.events.project, dataflow.region, dataflow.endpoint)
        source, stream = flow_run.parameters["source"], flow_run.parameters["stream"]
        cancel_job(jobs, open_lake(), source, stream, str(flow_run.id))
    except MillraceError as error:  # a hook that raises is only a line in a log: say which job goes on
        fields = {"run_id": str(flow_run.id), "error": str(error)}
        log.error("dataflow.not_cancelled: %s", error, extra={"event": "dataflow.not_cancelled", "fields": fields})
