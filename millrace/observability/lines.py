"""Log records in; one JSON object per line, in the format of Cloud Logging, out.

https://cloud.google.com/logging/docs/structured-logging names the special fields. An event's line has its name from
`events.yaml` as `event`, and its fields; filters select them as `jsonPayload.event` and `jsonPayload.<field>`.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any

LABELS = "logging.googleapis.com/labels"
CONTEXT = ("flow_run_id", "flow_run_name", "flow_name", "task_run_id", "task_run_name", "worker_name", "work_pool_name")
SEVERITIES = {"WARN": "WARNING", "FATAL": "CRITICAL", "NOTSET": "DEFAULT"}
LONGEST = 60_000  # characters of one text; Cloud Logging cuts a line at 256 KB
OWN = {"severity", "message", "time", "logger", "event", "exception", LABELS}


class CloudLines(logging.Formatter):
    """A formatter that writes one JSON object per line, for every record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: severity, message, time, logger; event and fields of an event; labels of the run."""
        line: dict[str, Any] = {
            "severity": SEVERITIES.get(record.levelname, record.levelname),
            "message": _text(record)[:LONGEST],
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
        }
        if event := getattr(record, "event", None):
            line["event"] = str(event)
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line |= {str(key): value for key, value in fields.items() if key not in OWN}
        labels = {name: str(getattr(record, name)) for name in CONTEXT if getattr(record, name, None)}
        if labels:
            line[LABELS] = labels
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)[-LONGEST:]
        return json.dumps(line, default=_anything, ensure_ascii=False)


def _text(record: logging.LogRecord) -> str:
    """Return the message, unformatted when its arguments do not fit."""
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return f"{record.msg} {record.args}"


def _anything(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
