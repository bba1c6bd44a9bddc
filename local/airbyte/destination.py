"""Records and states of a sync in; objects of the GCS destination 1.x out, and states once their data has landed."""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from local.airbyte.bucket import GENERATION, Bucket
from local.airbyte.columns import EXTRACTED_AT, GENERATION_ID, META, RAW_ID, Field, Row, convert, fields
from local.airbyte.files import DataFile, data_file

DEFAULT_PATH = "${NAMESPACE}/${STREAM_NAME}/${YEAR}_${MONTH}_${DAY}_${EPOCH}_"
DEFAULT_FILE = "{part_number}{format_extension}"
FLUSH_BYTES = 200 * 1024 * 1024
VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Layout:
    """Where a sync's objects go."""

    prefix: str
    path_format: str
    file_pattern: str
    namespace: str
    job_id: int
    started: datetime

    def name(self, stream: str, part: int, extension: str) -> str:
        """An object's name."""
        file = self.file_pattern.replace("{part_number}", str(part)).replace("{format_extension}", extension)
        return self.prefix + self._filled(self.path_format, stream) + file

    def stream_prefix(self, stream: str) -> str:
        """What the names of a stream's objects have in common in every sync."""
        varying = re.split(r"\$\{(?:SYNC_ID|YEAR|MONTH|DAY|HOUR|MINUTE|SECOND|EPOCH|UUID)\}", self.path_format)[0]
        return self.prefix + self._filled(varying, stream)

    def _filled(self, text: str, stream: str) -> str:
        at = self.started.astimezone(UTC)
        values = {
            "NAMESPACE": self.namespace, "STREAM_NAME": stream, "SYNC_ID": self.job_id, "YEAR": at.year,
            "MONTH": f"{at.month:02}", "DAY": f"{at.day:02}", "HOUR": f"{at.hour:02}", "MINUTE": f"{at.minute:02}",
            "SECOND": f"{at.second:02}", "EPOCH": int(at.timestamp() * 1000), "UUID": uuid.uuid4(),
        }  # fmt: skip
        return VARIABLE.sub(lambda found: str(values.get(found[1], found[0])), text)


def layout(configuration: Row, namespace: str, job_id: int, started: datetime) -> Layout:
    """The layout that a destination's configuration asks for."""
    folder = str(configuration.get("gcs_bucket_path") or "").strip("/")
    return Layout(
        prefix=f"{folder}/" if folder else "",
        path_format=str(configuration.get("gcs_path_format") or DEFAULT_PATH),
        file_pattern=str(configuration.get("file_name_pattern") or DEFAULT_FILE),
        namespace=namespace,
        job_id=job_id,
        started=started,
    )


@dataclass
class Stream:
    """One stream under way."""

    name: str
    generation: int
    fields: list[Field]
    file: DataFile | None = None
    rows: int = 0
    bytes: int = 0
    parts: int = 0


@dataclass
class Landed:
    """What has arrived in the bucket."""

    rows: int = 0
    bytes: int = 0
    objects: list[str] = field(default_factory=list)


class Destination:
    """Writes one sync; `save_states` is called with states only after everything before them has been uploaded."""

    def __init__(
        self,
        bucket: Bucket,
        where: Layout,
        format_: Row,
        save_states: Callable[[dict[str, Row]], None],
        flush_bytes: int = FLUSH_BYTES,
    ) -> None:
        self._bucket, self._layout, self._format = bucket, where, format_
        self._save_states, self._flush_bytes = save_states, flush_bytes
        self._streams: dict[str, Stream] = {}
        self._pending: dict[str, Row] = {}
        self.landed = Landed()

    def add_stream(self, name: str, generation: int, json_schema: Row) -> None:
        """Expect records of a stream."""
        self._streams[name] = Stream(name, generation, fields(json_schema))

    def write(self, record: Row, size: int) -> None:
        """Take one record; uploads the stream's file when it is big enough.

        Raises:
            ValueError: the record is of a stream that is not part of the sync.
        """
        stream = self._streams.get(record["stream"])
        if stream is None:
            raise ValueError(f"the connector sent a record of {record['stream']!r}, which is not part of this sync")
        if stream.file is None:
            stream.file = data_file(stream.fields, self._format)
        values, changes = convert(record["data"], stream.fields)
        extracted = datetime.fromtimestamp(float(record["emitted_at"]) / 1000, UTC)
        own = {
            RAW_ID: str(uuid.uuid4()),
            EXTRACTED_AT: extracted.replace(microsecond=extracted.microsecond // 1000 * 1000),
            GENERATION_ID: stream.generation,
            META: {"sync_id": self._layout.job_id, "changes": changes},
        }
        stream.file.write(values | own)
        stream.rows += 1
        stream.bytes += size
        if stream.bytes >= self._flush_bytes:
            self.flush()

    def checkpoint(self, message: Row) -> None:
        """Take a state; it is kept back until the next flush."""
        kind = message.get("type") or "LEGACY"
        if kind == "STREAM":
            self._pending[str(message["stream"]["stream_descriptor"]["name"])] = message
        else:
            self._pending[""] = message

    def flush(self) -> None:
        """Upload every open file, then hand over the states: in this order, so that no row is lost."""
        for stream in self._streams.values():
            if stream.file is not None:
                name = self._layout.name(stream.name, stream.parts, stream.file.extension)
                data = stream.file.finish()
                metadata = {GENERATION: str(stream.generation)}
                self.landed.objects.append(self._bucket.upload(name, data, metadata))
                self.landed.rows += stream.rows
                self.landed.bytes += stream.bytes
                stream.file, stream.rows, stream.bytes = None, 0, 0
                stream.parts += 1
        if self._pending:
            self._save_states(self._pending)
            self._pending = {}

    def remove_older(self, name: str) -> int:
        """Delete a stream's objects of older generations; returns how many."""
        generation, removed = self._streams[name].generation, 0
        for found, metadata in list(self._bucket.list(self._layout.stream_prefix(name))):
            if int(metadata.get(GENERATION, generation)) < generation:
                self._bucket.delete(found)
                removed += 1
        return removed
