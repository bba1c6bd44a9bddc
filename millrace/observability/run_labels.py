"""Log records of flow processes in; the same records with labels of their run out."""

import logging

from prefect.context import FlowRunContext, TaskRunContext


class RunLabels(logging.Filter):
    """A filter that adds ids and names of the flow run and the task run; it passes every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the labels that a record lacks."""
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
