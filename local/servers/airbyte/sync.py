"""Runs a sync: resolves secrets, runs the connector, writes its records to the lake and stores its state."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from local.servers.airbyte.bucket import Bucket
from local.servers.airbyte.connectors import Command, Connectors, UnknownConnector
from local.servers.airbyte.destination import FORMATS, PATH_FORMAT, Json, StreamWriter, stream_prefix
from local.servers.airbyte.environment import DECLARATIVE, NotInstalled
from local.servers.airbyte.landing import GLOBAL, Landing, SyncFailed, without_streams
from local.servers.airbyte.process import Cancel, Log, connector
from local.servers.airbyte.secrets import Secrets
from local.servers.airbyte.store import Store

CATALOG_S = 3600
DEFAULT_MODE = "full_refresh_overwrite"


@dataclass(frozen=True)
class Plan:
    """A connection with its connector's command and the configurations of source and destination, secrets filled in."""

    connection: Json
    command: Command
    config: Json
    target: Json

    @property
    def id(self) -> str:
        """The connection's id."""
        return str(self.connection["connectionId"])

    def namespace(self, stream: Json) -> str:
        """Namespace of a stream at the destination."""
        own = str(stream.get("namespace") or "")
        template = str(self.connection.get("namespaceFormat") or "${SOURCE_NAMESPACE}")
        return template.replace("${SOURCE_NAMESPACE}", own)


@dataclass
class Syncs:
    """Runner of syncs, with the store, secrets and connectors that all connections share."""

    store: Store
    secrets: Secrets
    open_bucket: Callable[[str], Bucket]
    connectors: Connectors
    _catalogs: dict[str, tuple[float, Json]] = field(default_factory=dict)

    def sync(self, job: Json, writers: dict[str, StreamWriter], log: Log, cancel: Cancel) -> None:
        """Run a job to its end; `writers` is filled and has the written rows, however the job ends.

        Raises:
            SyncFailed: says what Airbyte would show.
            SecretMissing: a secret of the source or the destination can't be read.
        """
        plan = self._plan(job["connectionId"])
        streams = chosen_streams(plan.connection, self._discovered(plan, log, cancel))
        bucket = self.open_bucket(plan.target.get("gcs_bucket_name", ""))
        catalog = {"streams": [self._configured(plan, stream, chosen, job["jobId"]) for stream, chosen in streams]}
        for entry in catalog["streams"]:
            stream = entry["stream"]
            writers[stream["name"]] = StreamWriter(
                stream, plan.namespace(stream), job["jobId"], plan.target, entry["generation_id"], bucket.upload
            )
        self._read(plan, catalog, writers, log, cancel)
        for entry in catalog["streams"]:
            if generation := entry["minimum_generation_id"]:
                prefix = stream_prefix(plan.target, plan.namespace(entry["stream"]), entry["stream"]["name"])
                bucket.delete_older(prefix, generation)

    def _plan(self, connection_id: str) -> Plan:
        connection = self._item("connections", connection_id)
        source = self._item("sources", connection["sourceId"])
        destination = self._item("destinations", connection["destinationId"])
        config = self.secrets.resolve(source.get("configuration", {}))
        if declarative := self.store.item("declaratives", source["definitionId"]):
            image = DECLARATIVE
            config["__injected_declarative_manifest"] = declarative["manifest"]
        else:
            image = self._item("definitions", source["definitionId"])["dockerRepository"]
        target = self.secrets.resolve(destination.get("configuration", {}))
        target.setdefault("gcs_path_format", PATH_FORMAT)
        if (kind := target.setdefault("format", {"format_type": "Parquet"})["format_type"]) not in FORMATS:
            expected = " or ".join(FORMATS)
            raise SyncFailed(f"destination {destination['name']!r}: format {kind!r} is unknown; expected {expected}")
        return Plan(connection, self._command(image), config, target)

    def _command(self, image: str) -> Command:
        try:
            return self.connectors.find(image)
        except NotInstalled as error:
            raise SyncFailed(f"connector {image!r} can't be installed: {error}") from None
        except (UnknownConnector, ValueError, OSError) as error:
            raise SyncFailed(str(error)) from None

    def _item(self, kind: str, item_id: str) -> Json:
        item = self.store.item(kind, item_id)
        if item is None:
            raise SyncFailed(f"the connection refers to {kind[:-1]} {item_id}, which is gone")
        return item

    def _discovered(self, plan: Plan, log: Log, cancel: Cancel) -> Json:
        """Return the source's catalog, cached for an hour; a connection that changes is discovered again."""
        key = json.dumps([plan.connection, plan.command.words, plan.config], sort_keys=True)
        cached = self._catalogs.get(key)
        if cached is None or time.monotonic() - cached[0] > CATALOG_S:
            cached = self._catalogs[key] = (time.monotonic(), discover(plan, log, cancel))
        return cached[1]

    def _configured(self, plan: Plan, stream: Json, chosen: Json, job_id: int) -> Json:
        mode = chosen.get("syncMode") or DEFAULT_MODE
        own = stream.get("default_cursor_field", [])
        overwrite = mode == "full_refresh_overwrite"
        generation = self.store.next_generation(plan.id, stream["name"]) if overwrite else 0
        return {
            "stream": stream,
            "sync_mode": "full_refresh" if mode.startswith("full") else "incremental",
            "destination_sync_mode": "overwrite" if overwrite else "append",
            "cursor_field": own if stream.get("source_defined_cursor") else chosen.get("cursorField") or own,
            "primary_key": chosen.get("primaryKey") or [],
            "generation_id": generation,
            "minimum_generation_id": generation,
            "sync_id": job_id,
        }

    def _read(self, plan: Plan, catalog: Json, writers: dict[str, StreamWriter], log: Log, cancel: Cancel) -> None:
        full = {entry["stream"]["name"] for entry in catalog["streams"] if entry["sync_mode"] == "full_refresh"}
        for name in full:
            self.store.drop_state(plan.id, name)
        saved = self.store.states(plan.id)
        states = [without_streams(state, full) if name == GLOBAL else state for name, state in saved.items()]
        inputs = {"config": plan.config, "catalog": catalog, "state": states}
        with connector(plan.command, "read", inputs, log, cancel) as reading:
            landing = Landing(
                writers, full, lambda name, state: self.store.put_state(plan.id, name, state), reading.batches
            )
            try:
                for message in reading.messages():
                    landing.take(message, log)
            finally:
                landing.flush()
            landing.check_outcome(reading.exit_code())


def discover(plan: Plan, log: Log, cancel: Cancel) -> Json:
    """The streams of a source.

    Raises:
        SyncFailed: the connector sent an error, or no catalog.
    """
    error, catalog = "", None
    with connector(plan.command, "discover", {"config": plan.config}, log, cancel) as discovering:
        for message in discovering.messages():
            if message["type"] == "CATALOG":
                catalog = dict(message["catalog"])
            elif message["type"] == "TRACE" and message["trace"]["type"] == "ERROR":
                error = str(message["trace"]["error"]["message"])
        code = discovering.exit_code()
    if error or code or catalog is None:
        raise SyncFailed(error or f"discover ended with code {code} and {'a' if catalog else 'no'} catalog")
    return catalog


def chosen_streams(connection: Json, catalog: Json) -> list[tuple[Json, Json]]:
    """Streams of a connection with its choice of mode, key and cursor; all streams when it names none.

    Raises:
        SyncFailed: the source lacks one of them.
    """
    available = {stream["name"]: stream for stream in catalog["streams"]}
    selected = connection.get("configurations", {}).get("streams") or [{"name": name} for name in available]
    if missing := [s["name"] for s in selected if s["name"] not in available]:
        raise SyncFailed(f"the source has no stream {', '.join(missing)}; it has {', '.join(available)}")
    return [(available[s["name"]], s) for s in selected]
