"""Messages of the Airbyte protocol, as lines on stdout. Standard library only."""

import json
import sys
import time
from typing import Any


class ConnectorError(Exception):
    """What ends a read: `config_error` is the user's to mend, `system_error` is not."""

    def __init__(self, message: str, failure_type: str = "config_error") -> None:
        super().__init__(message)
        self.failure_type = failure_type


def emit(message: dict[str, Any]) -> None:
    """Write one message."""
    sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")


def flush() -> None:
    """Hand over what is buffered, so that the platform sees a checkpoint at once."""
    sys.stdout.flush()


def log(text: str) -> None:
    """A line for the job's log."""
    emit({"type": "LOG", "log": {"level": "INFO", "message": text}})


def record(stream: str, data: dict[str, Any]) -> None:
    """One row, or one delete."""
    emit({"type": "RECORD", "record": {"stream": stream, "data": data, "emitted_at": _now_ms()}})


def state(stream: str, content: dict[str, Any]) -> None:
    """A checkpoint: everything of the stream before it need not be read again."""
    descriptor = {"stream_descriptor": {"name": stream}, "stream_state": content}
    emit({"type": "STATE", "state": {"type": "STREAM", "stream": descriptor}})
    flush()


def stream_status(stream: str, status: str) -> None:
    """STARTED, RUNNING, COMPLETE or INCOMPLETE."""
    content = {"stream_descriptor": {"name": stream}, "status": status}
    _trace({"type": "STREAM_STATUS", "stream_status": content})


def error(failure: ConnectorError, stream: str | None) -> None:
    """Why the connector ends before it is done."""
    content = {"message": str(failure), "internal_message": repr(failure), "failure_type": failure.failure_type}
    where = {"stream_descriptor": {"name": stream}} if stream else {}
    _trace({"type": "ERROR", "error": content | where})
    flush()


def _trace(content: dict[str, Any]) -> None:
    emit({"type": "TRACE", "trace": content | {"emitted_at": float(_now_ms())}})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
