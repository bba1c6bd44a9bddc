"""`python -m local.connectors.files spec | check | discover | read`."""

import sys
from collections.abc import Sequence

import pyarrow as pa

from local.connectors.files.folder import File, Folder
from local.connectors.files.formats import Kinds, kinds_of, read
from local.connectors.protocol import ConnectorError, Json, Output, Stream
from local.connectors.run import run
from millrace.airbyte.specifications import FILES

FILE, ROW, CHANGED = "source_file", "source_row", "source_file_at"
OWN = {
    FILE: {"type": "string", "contract_type": "string", "description": "Path of the file in its folder."},
    ROW: {"type": "integer", "contract_type": "int64", "description": "Number of the row in its file, from 1."},
    CHANGED: {"type": "string", "contract_type": "timestamp", "description": "When the file was changed (UTC)."},
}
STATE_FILES = 200


class Files:
    """The connector."""

    specification = FILES
    errors = (OSError, pa.ArrowException)

    def check(self, config: Json) -> None:
        """Look for files."""
        Folder(config).streams()

    def discover(self, config: Json) -> list[Json]:
        """Return the streams, with the columns of their newest files."""
        folder = Folder(config)
        return [_stream(name, kinds_of(folder.system, files[-1])) for name, files in folder.streams().items()]

    def read(self, config: Json, streams: Sequence[Stream], states: list[Json], output: Output) -> None:
        """Write the rows of files that are new or changed since the state; of all in a full refresh."""
        folder = Folder(config)
        files = folder.streams()
        for stream in streams:
            if stream.name not in files:
                raise ConnectorError(f"stream {stream.name}: {folder.url} has no such file or folder", "system_error")
            output.status(stream, "STARTED")
            self._read_one(folder, stream, files[stream.name], _read_before(stream, states), output)
            output.status(stream, "COMPLETE")

    def _read_one(
        self, folder: Folder, stream: Stream, files: list[File], done: dict[str, str], output: Output
    ) -> None:
        properties = (stream.schema or {}).get("properties", {})
        kinds = {name: str(p.get("contract_type", "string")) for name, p in properties.items()}
        done = {file.name: done[file.name] for file in files if file.name in done}
        left = [file for file in files if done.get(file.name) != file.version]
        for count, file in enumerate(left, 1):
            rows = 0
            for table in read(folder.system, file, kinds):
                output.rows(stream, _with_own(table, file, rows))
                rows += table.num_rows
                if stream.most_rows and rows >= stream.most_rows:
                    return
            done[file.name] = file.version
            if stream.incremental and count % STATE_FILES == 0:
                output.stream_state(stream, {"files": done})
        if stream.incremental:
            output.stream_state(stream, {"files": done})


def _read_before(stream: Stream, states: list[Json]) -> dict[str, str]:
    bodies = [s["stream"] for s in states or [] if s.get("type") == "STREAM"] if stream.incremental else []
    own = [b.get("stream_state") or {} for b in bodies if b["stream_descriptor"]["name"] == stream.name]
    return dict(own[0].get("files", {})) if own else {}


def _with_own(table: pa.Table, file: File, before: int) -> pa.Table:
    rows = table.num_rows
    values = {
        FILE: pa.repeat(file.name, rows),
        ROW: pa.array(range(before + 1, before + rows + 1), pa.int64()),
        CHANGED: pa.repeat(pa.scalar(file.changed, pa.timestamp("us", "UTC")), rows),
    }
    for name, array in values.items():
        table = table.append_column(name, array)
    return table


def _stream(name: str, kinds: Kinds) -> Json:
    properties = {column: {"type": ["null", "string"], "contract_type": kind} for column, kind in kinds.items()} | OWN
    return {
        "name": name,
        "supported_sync_modes": ["full_refresh", "incremental"],
        "json_schema": {"type": "object", "properties": properties},
        "source_defined_cursor": True,
        "default_cursor_field": [CHANGED],
        "source_defined_primary_key": [[FILE], [ROW]],
    }


if __name__ == "__main__":
    sys.exit(run(Files()))
