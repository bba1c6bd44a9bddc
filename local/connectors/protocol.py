"""A connector's tables, states and errors in; messages of the Airbyte protocol on standard output.

A destination that takes Arrow names a folder in `ARROW_BATCHES`: rows then go into it as Arrow files, each
announced by a message `RECORD_BATCH` and deleted by its reader. Without it each row is a `RECORD`, as for Airbyte.
"""

import base64
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ARROW_FOLDER = "ARROW_BATCHES"
MOST_WAITING = 4  # files that may wait for the destination
WAIT_S = 0.002

Json = dict[str, Any]


class ConnectorError(Exception):
    """A failure with Airbyte's `failure_type`: `config_error` asks for another configuration."""

    def __init__(self, message: str, kind: str = "config_error") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Stream:
    """One stream of the configured catalog."""

    name: str
    namespace: str
    incremental: bool
    cursor: str = ""
    schema: Json | None = None
    most_rows: int = 0  # of a sample; 0 is no limit

    @property
    def descriptor(self) -> Json:
        """Return the protocol's address of the stream."""
        return {"name": self.name, "namespace": self.namespace}


def configured_streams(catalog: Json) -> list[Stream]:
    """Return the streams of a configured catalog."""
    return [
        Stream(
            entry["stream"]["name"],
            str(entry["stream"].get("namespace") or ""),
            entry.get("sync_mode") == "incremental",
            next(iter(entry.get("cursor_field") or []), ""),
            entry["stream"].get("json_schema"),
            int(entry.get("sample_rows") or 0),
        )
        for entry in catalog["streams"]
    ]


class Output:
    """Standard output, and the folder of Arrow files if the destination has one."""

    def __init__(self, folder: str | None = None) -> None:
        named = os.environ.get(ARROW_FOLDER, "") if folder is None else folder
        self._folder, self._files = Path(named) if named else None, 0

    def emit(self, kind: str, **body: Any) -> None:
        """Write one message."""
        sys.stdout.write(json.dumps({"type": kind, **body}, default=plain) + "\n")
        sys.stdout.flush()

    def log(self, text: str, level: str = "INFO") -> None:
        """Write a line of the log."""
        self.emit("LOG", log={"level": level, "message": text})

    def status(self, stream: Stream, status: str) -> None:
        """Say that a stream was started, or is complete."""
        trace = {"stream_descriptor": stream.descriptor, "status": status}
        self.emit("TRACE", trace={"type": "STREAM_STATUS", "emitted_at": now_ms(), "stream_status": trace})

    def failure(self, message: str, kind: str) -> None:
        """Write the error that ends the connector."""
        error = {"message": message, "internal_message": message, "failure_type": kind}
        self.emit("TRACE", trace={"type": "ERROR", "emitted_at": now_ms(), "error": error})

    def stream_state(self, stream: Stream, state: Json) -> None:
        """Write the state of one stream."""
        body = {"stream_descriptor": stream.descriptor, "stream_state": state}
        self.emit("STATE", state={"type": "STREAM", "stream": body})

    def global_state(self, shared: Json, streams: list[tuple[Json, Json]]) -> None:
        """Write the state of all streams together; `streams` are pairs of descriptor and state."""
        states = [{"stream_descriptor": d, "stream_state": s} for d, s in streams]
        self.emit("STATE", state={"type": "GLOBAL", "global": {"shared_state": shared, "stream_states": states}})

    def rows(self, stream: Stream, table: pa.Table) -> None:
        """Write rows: one Arrow file, or a record each."""
        if not table.num_rows:
            return
        if self._folder:
            return self._batch(stream, table, self._folder)
        for data in _with_texts(table).to_pylist():
            record = {"stream": stream.name, "namespace": stream.namespace, "data": jsonable(data)}
            self.emit("RECORD", record=record | {"emitted_at": now_ms()})

    def _batch(self, stream: Stream, table: pa.Table, folder: Path) -> None:
        while sum(1 for _ in folder.iterdir()) >= MOST_WAITING:
            time.sleep(WAIT_S)  # the destination is slower; the disk must not fill
        self._files += 1
        file = folder / f"{self._files}.arrow"
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        batch = {"stream": stream.name, "namespace": stream.namespace, "file": file.name, "rows": table.num_rows}
        self.emit("RECORD_BATCH", record_batch=batch | {"emitted_at": now_ms()})


def _with_texts(table: pa.Table) -> pa.Table:
    """Return a table whose times are texts in ISO 8601, also those that Python does not hold."""
    for index, item in enumerate(table.schema):
        if pa.types.is_temporal(item.type):
            texts = pc.replace_substring(table.column(index).cast(pa.string()), " ", "T")
            table = table.set_column(index, item.name, texts)
    return table


def jsonable(data: Json) -> Json:
    """Return a row without the floats that JSON lacks: they become the texts NaN, Infinity and -Infinity."""
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in data.items()}


def plain(value: object) -> str:
    """Return a value that JSON lacks as text: numbers with all digits, bytes in base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return int(time.time() * 1000)
