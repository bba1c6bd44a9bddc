"""One job in, its rows in the bucket and its states in the store out."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.airbyte.bucket import Bucket
from local.airbyte.connectors import Connector as Image
from local.airbyte.destination import Destination, layout
from local.airbyte.process import Cancel, Log, connector
from local.airbyte.references import SecretManager, resolve
from local.airbyte.store import Body, Store

MODES = {
    "full_refresh_overwrite": ("full_refresh", "overwrite"),
    "full_refresh_append": ("full_refresh", "append"),
    "incremental_append": ("incremental", "append"),
}


class SyncFailed(Exception):
    """A sync that ended without success; says why."""


class SyncCancelled(Exception):
    """A sync that was told to stop."""


@dataclass(frozen=True)
class Plan:
    """All that a sync is made of; configurations hold references, not secrets."""

    job_id: int
    connection: Body
    source: Body
    destination: Body
    image: Image

    @property
    def connection_id(self) -> str:
        """The connection's id."""
        return str(self.connection["connectionId"])

    @property
    def streams(self) -> list[Body]:
        """The connection's streams."""
        return list(self.connection.get("configurations", {}).get("streams", []))

    @property
    def namespace(self) -> str:
        """What `${NAMESPACE}` stands for: the connection's own format, else the source's name."""
        if self.connection.get("namespaceDefinition") == "custom_format" and self.connection.get("namespaceFormat"):
            return str(self.connection["namespaceFormat"]).replace("${SOURCE_NAMESPACE}", str(self.source["name"]))
        return str(self.source["name"])


class Sync:
    """Runs one plan."""

    def __init__(
        self, plan: Plan, store: Store, bucket: Bucket, secrets: SecretManager, flush_bytes: int, log: Log
    ) -> None:
        self.plan, self.cancel, self.secret_values = plan, Cancel(), set[str]()
        self._store, self._bucket, self._secrets, self._flush_bytes = store, bucket, secrets, flush_bytes
        self._log_line = log
        self.destination: Destination | None = None

    def run(self) -> None:
        """Read the source to its end; what was checkpointed before a failure has landed all the same.

        Raises:
            SyncFailed: the connector or the configuration is at fault.
            SyncCancelled: told to stop.
            SecretMissing: a secret can't be read.
        """
        source = resolve(self.plan.source["configuration"], self._secrets, self.secret_values)
        target = resolve(self.plan.destination["configuration"], self._secrets, self.secret_values)
        catalog = self._configured(self._discovered(source))
        self.destination = self._destination(target, catalog)
        inputs: dict[str, Any] = {"config": source, "catalog": catalog}
        if states := self._store.states(self.plan.connection_id):
            inputs["state"] = states
        outcome = Outcome({configured["stream"]["name"] for configured in catalog["streams"]})
        with connector(self.plan.image.command, "read", inputs, self.log, self.cancel) as reading:
            for message, size in reading.messages():
                self._take(message, size, outcome)
            code = reading.exit_code()
        if self.cancel.told.is_set():
            raise SyncCancelled
        self.destination.flush()  # also after a failure: what came with a checkpoint is not sent again
        if reason := outcome.failure(code):
            raise SyncFailed(reason)
        for configured in catalog["streams"]:
            if configured["destination_sync_mode"] == "overwrite":
                removed = self.destination.remove_older(configured["stream"]["name"])
                self.log(f"{configured['stream']['name']}: removed {removed} objects of older generations")

    def log(self, text: str) -> None:
        """A line of the job's log, without secrets."""
        self._log_line(self.hidden(text))

    def hidden(self, text: str) -> str:
        """The text without secrets."""
        for secret in filter(None, self.secret_values):
            text = text.replace(secret, "**********")
        return text

    def _take(self, message: Body, size: int, outcome: "Outcome") -> None:
        if self.cancel.told.is_set() or self.destination is None:
            return  # read on to the end of the pipe, so that the connector can end
        if message["type"] == "RECORD":
            self.destination.write(message["record"], size)
        elif message["type"] == "STATE":
            self.destination.checkpoint(message["state"])
        elif message["type"] == "TRACE":
            outcome.trace(message["trace"])
            self.log(json.dumps(message["trace"]))
        elif message["type"] == "LOG":
            self.log(f"{message['log'].get('level')}: {message['log'].get('message')}")

    def _discovered(self, configuration: Body) -> Body:
        """The source's catalog, discovered anew when its configuration or its command has changed."""
        known = json.dumps([self.plan.source["configuration"], self.plan.image.command], sort_keys=True)
        fingerprint = hashlib.sha256(known.encode()).hexdigest()
        source_id = str(self.plan.source["sourceId"])
        found = self._store.catalog(source_id, fingerprint)
        names = {stream["name"] for stream in found["streams"]} if found else set()
        if found is not None and names.issuperset(stream["name"] for stream in self.plan.streams):
            return found
        outcome = Outcome(set())
        with connector(
            self.plan.image.command, "discover", {"config": configuration}, self.log, self.cancel
        ) as running:
            for message, _ in running.messages():
                if message["type"] == "CATALOG":
                    found = message["catalog"]
                elif message["type"] == "TRACE":
                    outcome.trace(message["trace"])
            code = running.exit_code()
        if self.cancel.told.is_set():
            raise SyncCancelled
        if reason := outcome.failure(code):
            raise SyncFailed(f"discover: {reason}")
        if found is None:
            raise SyncFailed("discover: the connector told no catalog; see the job's log")
        self._store.save_catalog(source_id, fingerprint, found)
        return found

    def _configured(self, catalog: Body) -> Body:
        """The configured catalog: what the connection wants of what the source offers."""
        offered = {stream["name"]: stream for stream in catalog["streams"]}
        streams = []
        for wanted in self.plan.streams or [{"name": name} for name in offered]:
            name, mode = wanted["name"], wanted.get("syncMode") or "full_refresh_overwrite"
            if name not in offered:
                raise SyncFailed(f"the source offers no stream {name!r}; it has {', '.join(sorted(offered))}")
            if mode not in MODES:
                raise SyncFailed(f"stream {name!r} asks for {mode!r}; this destination knows {', '.join(MODES)}")
            sync_mode, destination_mode = MODES[mode]
            overwrite = destination_mode == "overwrite"
            generation = self._store.generation(self.plan.connection_id, name, new=overwrite)
            if sync_mode == "full_refresh":
                self._store.drop_states(self.plan.connection_id, [name])
            streams.append({
                "stream": offered[name],
                "sync_mode": sync_mode,
                "destination_sync_mode": destination_mode,
                "cursor_field": wanted.get("cursorField") or [],
                "primary_key": wanted.get("primaryKey") or offered[name].get("source_defined_primary_key") or [],
                "generation_id": generation,
                "minimum_generation_id": generation if overwrite else 0,
                "sync_id": self.plan.job_id,
            })  # fmt: skip
        return {"streams": streams}

    def _destination(self, configuration: Body, catalog: Body) -> Destination:
        where = layout(configuration, self.plan.namespace, self.plan.job_id, datetime.now(UTC))
        incremental = {c["stream"]["name"] for c in catalog["streams"] if c["sync_mode"] == "incremental"} | {""}

        def save(states: dict[str, Body]) -> None:
            kept = {stream: state for stream, state in states.items() if stream in incremental}
            self._store.save_states(self.plan.connection_id, kept)

        format_ = configuration.get("format") or {}
        destination = Destination(self._bucket, where, format_, save, self._flush_bytes)
        for configured in catalog["streams"]:
            stream = configured["stream"]
            destination.add_stream(stream["name"], configured["generation_id"], stream["json_schema"])
        return destination


class Outcome:
    """What a connector said about itself."""

    def __init__(self, streams: set[str]) -> None:
        self._incomplete, self._errors = set(streams), list[str]()

    def trace(self, content: Body) -> None:
        """Take a TRACE message."""
        if content["type"] == "ERROR":
            error = content["error"]
            self._errors.append(f"{error.get('failure_type', 'system_error')}: {error.get('message', 'no message')}")
        elif content["type"] == "STREAM_STATUS" and content["stream_status"]["status"] == "COMPLETE":
            self._incomplete.discard(content["stream_status"]["stream_descriptor"]["name"])

    def failure(self, code: int) -> str:
        """Why this was no success, '' if it was one: no error, exit code 0, and every stream complete."""
        if self._errors:
            return "; ".join(self._errors)
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            return f"the connector {how} without saying why; see the job's log"
        if self._incomplete:
            return f"the connector ended before it completed {', '.join(sorted(self._incomplete))}"
        return ""
