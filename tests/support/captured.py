"""Log lines as they leave the process: captured from the platform's own loggers, in the shape that is read on Cloud."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from millrace.observability.lines import CloudLines

OURS = ("tasks", "beam_job", "warehouse", "blocks", "prefect.flow_runs")
Line = dict[str, Any]


class Lines(logging.Handler):
    """Keeps the lines that would be written."""

    def __init__(self, *filters: logging.Filter) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self.setFormatter(CloudLines())
        for one in filters:
            self.addFilter(one)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@contextmanager
def captured(*filters: logging.Filter) -> Iterator[list[Line]]:
    """What our loggers tell meanwhile."""
    handler = Lines(*filters)
    loggers = [logging.getLogger(name) for name in OURS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
