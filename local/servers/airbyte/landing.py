"""Writes a connector's records to the lake; a STATE is stored only after the records before it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from local.servers.airbyte.destination import Json, StreamWriter

STATE_ROWS = 5_000
GLOBAL = ""

Keep = Callable[[str, Json], None]


class SyncFailed(Exception):
    """The job failed; the message is the failure that Airbyte would show."""


class Landing:
    """Takes a connector's messages; `keep` persists a state by stream name (`GLOBAL` for the whole connection).

    `batches` is the folder of the files that messages `RECORD_BATCH` name, each with many rows in Arrow's format.
    """

    def __init__(self, writers: dict[str, StreamWriter], full_refresh: set[str], keep: Keep, batches: Path) -> None:
        self._writers, self._full_refresh, self._keep, self._batches = writers, full_refresh, keep, batches
        self._pending: dict[str, Json] = {}
        self._since_flush = 0
        self._complete: set[str] = set()
        self._error = ""

    def take(self, message: Json, log: Callable[[str], None]) -> None:
        """Take one message.

        Raises:
            SyncFailed: it is malformed, or of a stream that was not asked for.
        """
        kind = message["type"]
        try:
            if kind == "RECORD":
                self._record(message["record"])
            elif kind == "RECORD_BATCH":
                self._batch(message["record_batch"])
            elif kind == "STATE":
                self._state(message["state"])
            elif kind == "TRACE":
                self._trace(message["trace"])
            elif kind == "LOG":
                log(f"{message['log'].get('level', 'INFO')}: {message['log'].get('message')}")
        except (KeyError, TypeError, AttributeError, OSError, pa.ArrowException) as error:
            raise SyncFailed(f"the connector sent a malformed {kind} message: {type(error).__name__} {error}") from None

    def flush(self) -> None:
        """Bring all records into the lake, then keep the states that waited for them."""
        for writer in self._writers.values():
            writer.flush()
        for name, state in self._pending.items():
            self._keep(name, state)
        self._pending.clear()
        self._since_flush = 0

    def check_outcome(self, exit_code: int) -> None:
        """Return True when the sync succeeded: exit code 0, no error message, every stream complete.

        Raises:
            SyncFailed: it did not.
        """
        if exit_code or self._error:
            raise SyncFailed(self._error or f"the connector ended with code {exit_code} before it was done")
        if missing := set(self._writers) - self._complete:
            raise SyncFailed(f"the connector ended without completing {', '.join(sorted(missing))}")

    def _record(self, record: Json) -> None:
        self._writer(record["stream"], "record").add(record["data"], record["emitted_at"])
        self._since_flush += 1

    def _batch(self, batch: Json) -> None:
        """Take the rows of a file, and delete it, so that the connector writes the next one."""
        writer, file = self._writer(batch["stream"], "batch"), self._batches / Path(batch["file"]).name
        with pa.memory_map(str(file)) as mapped, pa.ipc.open_file(mapped) as reader:
            table = reader.read_all()
        file.unlink()
        writer.add_table(table, batch["emitted_at"])
        self._since_flush += table.num_rows

    def _state(self, state: Json) -> None:
        """Remember a state; flush when enough records wait, so that a talkative connector makes no tiny files."""
        kind = state.get("type", "STREAM")
        if kind == "GLOBAL":
            self._pending = {GLOBAL: without_streams(state, self._full_refresh)}
        elif kind == "STREAM":
            name = state["stream"]["stream_descriptor"]["name"]
            self._writer(name, "state")
            if name not in self._full_refresh:
                self._pending[name] = state
        else:
            raise SyncFailed(f"the connector sent a STATE of type {kind}; STREAM and GLOBAL can be kept")
        if self._since_flush >= STATE_ROWS:
            self.flush()

    def _trace(self, trace: Json) -> None:
        if trace["type"] == "ERROR":
            self._error = str(trace["error"]["message"])
        elif trace["type"] == "STREAM_STATUS" and trace["stream_status"]["status"] == "COMPLETE":
            self._complete.add(trace["stream_status"]["stream_descriptor"]["name"])

    def _writer(self, stream: str, message_type: str) -> StreamWriter:
        if stream not in self._writers:
            streams = ", ".join(self._writers)
            raise SyncFailed(f"the connector sent a {message_type} of stream {stream!r}, which is not among {streams}")
        return self._writers[stream]


def without_streams(state: Json, names: set[str]) -> Json:
    """A GLOBAL state without the states of some streams."""
    shared: dict[str, Any] = state["global"]
    left = [s for s in shared.get("stream_states", []) if s["stream_descriptor"]["name"] not in names]
    return state | {"global": shared | {"stream_states": left}}
