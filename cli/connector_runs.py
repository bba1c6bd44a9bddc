"""Runs a connector on this machine for a command; its answers in types, its failures as one sentence."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from millrace.domain.errors import Fatal
from millrace.project import CODE

Json = dict[str, Any]
SAMPLE_ROWS = 200
END_S = 10
RUN = [sys.executable, "-m", "local.connectors", "run"]


class ConnectorFailed(Fatal):
    """A connector can't do what was asked; the message has its words."""


class ConnectorRun:
    """One connector with a configuration."""

    def __init__(self, image: str, config: Json | None = None) -> None:
        self.image, self.config = image, config or {}

    def spec(self) -> Json:
        """Return the JSON schema of the connector's configuration."""
        message = self._answer("spec", {}, "SPEC")
        return dict(message["spec"]["connectionSpecification"])

    def check(self) -> None:
        """Raise ConnectorFailed when the connector can't connect."""
        status = self._answer("check", {"config": self.config}, "CONNECTION_STATUS")["connectionStatus"]
        if status["status"] != "SUCCEEDED":
            raise ConnectorFailed(f"{self.image} can't connect: {status.get('message') or 'it gives no reason'}")

    def streams(self) -> list[Json]:
        """Return the streams of the connector's catalog."""
        return list(self._answer("discover", {"config": self.config}, "CATALOG")["catalog"]["streams"])

    def sample(self, streams: list[Json], rows: int = SAMPLE_ROWS) -> dict[str, list[Json]]:
        """Return some rows of each stream; a connector that sends more is ended, and asked again for the others."""
        samples: dict[str, list[Json]] = {}
        left = list(streams)
        while left:
            samples |= self._sample_some(left, rows)
            done = next((n for n, s in enumerate(left) if s["name"] not in samples), len(left))
            left = left[max(done, 1) :]
        return samples

    def _sample_some(self, streams: list[Json], rows: int) -> dict[str, list[Json]]:
        """Read streams until one has too many rows."""
        entries = [
            {
                "stream": stream,
                "sync_mode": "full_refresh",
                "destination_sync_mode": "append",
                "cursor_field": [],
                "primary_key": stream.get("source_defined_primary_key") or [],
                "sample_rows": rows,  # which our own connectors keep to
            }
            for stream in streams
        ]
        samples: dict[str, list[Json]] = {}
        for message in self._messages("read", {"config": self.config, "catalog": {"streams": entries}}):
            if message["type"] == "RECORD":
                taken = samples.setdefault(message["record"]["stream"], [])
                if len(taken) >= rows:
                    return samples
                taken.append(message["record"]["data"])
        return {stream["name"]: samples.get(stream["name"], []) for stream in streams}

    def _answer(self, verb: str, inputs: Json, kind: str) -> Json:
        answer = next((m for m in self._messages(verb, inputs) if m["type"] == kind), None)
        if answer is None:
            raise ConnectorFailed(f"{self.image} {verb}: the connector sent no {kind}")
        return answer

    def _messages(self, verb: str, inputs: Json) -> Iterator[Json]:
        command = [*RUN, self.image, verb]
        with tempfile.TemporaryFile("w+") as errors:  # a pipe that nobody reads would stop a connector that says much
            yield from self._run(command, verb, inputs, errors)

    def _run(self, command: list[str], verb: str, inputs: Json, errors: IO[str]) -> Iterator[Json]:
        process = subprocess.Popen(  # noqa: S603  our own module
            command, cwd=CODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdin  # noqa: S101  it was opened with a pipe
        assert process.stdout  # noqa: S101  as stdin
        json.dump(inputs, process.stdin)
        process.stdin.close()
        try:
            for line in process.stdout:
                message = json.loads(line)
                if message["type"] == "TRACE" and message["trace"].get("type") == "ERROR":
                    raise ConnectorFailed(f"{self.image} {verb}: {message['trace']['error']['message']}")
                yield message
            self._check_end(process, verb, errors)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
            process.stdout.close()

    def _check_end(self, process: "subprocess.Popen[str]", verb: str, errors: IO[str]) -> None:
        if process.wait():
            errors.seek(0)
            lines = errors.read().strip().splitlines()
            reason = (lines[-1] if lines else f"ended with code {process.returncode}").removeprefix("error: ")
            raise ConnectorFailed(f"{self.image} {verb}: {reason}")
