"""Runs one job: resolves secrets, runs the connector, writes what it emits, keeps its state."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from local.airbyte.destination import StreamWriter, Upload
from local.airbyte.secrets import SecretMissing, Secrets
from local.airbyte.store import Store

Json = dict[str, Any]
CONNECTORS = {"millrace/source-airport-ops": [sys.executable, "-m", "local.airport_ops.connector"]}
GRACE_S = 5.0


class SyncFailed(Exception):
    """The job failed; the message is what Airbyte would show."""


class Runner:
    """Runs jobs, each in a thread of its own."""

    def __init__(self, store: Store, secrets: Secrets, upload: Upload, logs: Path) -> None:
        self._store, self._secrets, self._upload, self._logs = store, secrets, upload, logs
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._cancelled: set[int] = set()
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, job: Json) -> None:
        """Run a job in the background."""
        threading.Thread(target=self._run, args=(job,), daemon=True).start()

    def cancel(self, number: int) -> None:
        """End a job's connector."""
        self._cancelled.add(number)
        if process := self._processes.get(number):
            _end(process)

    def close(self) -> None:
        """End all connectors."""
        for process in list(self._processes.values()):
            _end(process)

    def _run(self, job: Json) -> None:
        number, began = job["jobId"], time.monotonic()
        writers: dict[str, StreamWriter] = {}
        try:
            self._sync(job, writers)
            end: Json = {"status": "succeeded"}
        except (SyncFailed, SecretMissing) as error:
            end = {"status": "cancelled" if number in self._cancelled else "failed", "failureReason": str(error)}
        except Exception as error:
            end = {"status": "failed", "failureReason": f"{type(error).__name__}: {error}"}
        finally:
            self._processes.pop(number, None)
        rows, size = sum(w.rows for w in writers.values()), sum(w.bytes for w in writers.values())
        duration = f"PT{time.monotonic() - began:.0f}S"
        self._store.change_job(number, rowsSynced=rows, bytesSynced=size, duration=duration, **end)

    def _sync(self, job: Json, writers: dict[str, StreamWriter]) -> None:
        connection = self._store.item("connections", job["connectionId"]) or {}
        source = self._store.item("sources", connection["sourceId"]) or {}
        destination = self._store.item("destinations", connection["destinationId"]) or {}
        definition = self._store.item("definitions", source["definitionId"]) or {}
        command = CONNECTORS.get(definition.get("dockerRepository", ""))
        if command is None:
            raise SyncFailed(
                f"no connector {definition.get('dockerRepository')!r} here; there are {', '.join(CONNECTORS)}"
            )
        config = self._secrets.resolve(source["configuration"])
        target = self._secrets.resolve(destination["configuration"])
        with tempfile.TemporaryDirectory() as folder:
            log = (self._logs / f"job-{job['jobId']}.log").open("a")
            with log:
                catalog = self._configured(connection, _discover(command, Path(folder), config, log))
                states = self._states(connection, catalog)
                for entry in catalog["streams"]:
                    stream = entry["stream"]
                    writers[stream["name"]] = StreamWriter(
                        stream, connection["namespaceFormat"], job["jobId"], target, 0, self._upload
                    )
                arguments = ["--catalog", _file(folder, "catalog", catalog), "--state", _file(folder, "state", states)]
                process = _spawn([*command, "read", "--config", _file(folder, "config", config), *arguments], log)
                self._processes[job["jobId"]] = process
                self._consume(connection["connectionId"], process, writers, log)

    def _states(self, connection: Json, catalog: Json) -> list[Json]:
        states = self._store.states(connection["connectionId"])
        for entry in catalog["streams"]:
            if entry["sync_mode"] == "full_refresh":
                states.pop(entry["stream"]["name"], None)
        return list(states.values())

    @staticmethod
    def _configured(connection: Json, catalog: Json) -> Json:
        wanted = {s["name"]: s for s in connection["configurations"]["streams"]}
        streams = []
        for stream in catalog["streams"]:
            if chosen := wanted.pop(stream["name"], None):
                mode = "full_refresh" if chosen["syncMode"].startswith("full") else "incremental"
                key = chosen.get("primaryKey") or []
                streams.append(
                    {"stream": stream, "sync_mode": mode, "destination_sync_mode": "append", "primary_key": key}
                )
        if wanted:
            raise SyncFailed(f"the source has no stream {', '.join(wanted)}")
        return {"streams": streams}

    def _consume(
        self, connection: str, process: "subprocess.Popen[str]", writers: dict[str, StreamWriter], log: Any
    ) -> None:
        """Take messages until the connector ends; a STATE is kept only after its rows are in the lake."""
        error, complete = "", set()
        for line in process.stdout or ():
            try:
                message = json.loads(line)
            except ValueError:
                log.write(line)
                continue
            kind = message.get("type")
            if kind == "RECORD":
                record = message["record"]
                writers[record["stream"]].add(record["data"], record["emitted_at"])
            elif kind == "STATE":
                stream = message["state"]["stream"]["stream_descriptor"]["name"]
                writers[stream].flush()
                self._store.put_state(connection, stream, message["state"])
            elif kind == "TRACE" and message["trace"]["type"] == "ERROR":
                error = message["trace"]["error"]["message"]
            elif kind == "TRACE" and message["trace"].get("stream_status", {}).get("status") == "COMPLETE":
                complete.add(message["trace"]["stream_status"]["stream_descriptor"]["name"])
        code = process.wait()
        for writer in writers.values():
            writer.flush()
        if code or error:
            raise SyncFailed(error or f"the connector ended with code {code} before it was done")
        if missing := set(writers) - complete:
            raise SyncFailed(f"the connector ended without completing {', '.join(sorted(missing))}")


def _discover(command: list[str], folder: Path, config: Json, log: Any) -> Json:
    process = _spawn([*command, "discover", "--config", _file(folder, "config", config)], log)
    output, _ = process.communicate(timeout=60)
    error = f"discover ended with code {process.returncode}"
    for line in output.splitlines():
        message = json.loads(line)
        if message["type"] == "CATALOG":
            return dict(message["catalog"])
        if message["type"] == "TRACE" and message["trace"]["type"] == "ERROR":
            error = message["trace"]["error"]["message"]
    raise SyncFailed(error)


def _spawn(command: list[str], log: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
    )


def _end(process: "subprocess.Popen[str]") -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _file(folder: str | Path, name: str, body: Any) -> str:
    """A private file, as it may hold secrets."""
    path = Path(folder) / f"{name}.json"
    path.touch(0o600)
    path.write_text(json.dumps(body))
    return str(path)
