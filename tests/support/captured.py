"""Captures log lines of the platform's loggers in the JSON format of the images."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from millrace.observability.lines import CloudLines

OURS = ("tasks", "beam_job", "millrace.warehouse", "blocks", "prefect.flow_runs")
Line = dict[str, Any]


class Lines(logging.Handler):
    """Keeps the lines that would be written."""

    def __init__(self, *filters: logging.Filter) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self.setFormatter(CloudLines())
        for log_filter in filters:
            self.addFilter(log_filter)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@contextmanager
def captured(*filters: logging.Filter) -> Iterator[list[Line]]:
    """Yield the lines that the platform's loggers write meanwhile."""
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
