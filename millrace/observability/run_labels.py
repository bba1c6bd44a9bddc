"""Marks each log record of a process that runs flows with the run that it is of."""

import logging

from prefect.context import FlowRunContext, TaskRunContext


class RunLabels(logging.Filter):
    """Adds ids and names of the flow run and the task run; never holds a record back."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Leaves alone what a record already says of itself."""
        for name, value in _labels().items():
            if not getattr(record, name, None):
                setattr(record, name, value)
        return True


def _labels() -> dict[str, str]:
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    labels: dict[str, str] = {}
    if flow and flow.flow_run:
        labels |= {"flow_run_id": str(flow.flow_run.id), "flow_run_name": flow.flow_run.name}
        labels |= {"flow_name": flow.flow.name} if flow.flow else {}
    if task:
        labels |= {"task_run_id": str(task.task_run.id), "task_run_name": task.task_run.name}
        labels.setdefault("flow_run_id", str(task.task_run.flow_run_id))
    return labels
