"""`python -m local.connectors.singer TAP… -- spec | check | discover | read`: TAP is the tap's command."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from local.connectors.protocol import ConnectorError, Json, Output, Stream, now_ms
from local.connectors.run import run
from local.connectors.singer.catalog import LOG, decimals, select, stream_name, to_stream

ABOUT_S = 60


class Singer:
    """The connector of one tap."""

    errors: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, tap: Sequence[str]) -> None:
        self._tap = list(tap)

    @property
    def specification(self) -> Json:
        """Return what the tap says of its settings; one of an older kind says nothing."""
        about = subprocess.run(
            [*self._tap, "--about", "--format=json"], capture_output=True, text=True, check=False, timeout=ABOUT_S
        )
        try:
            settings = json.loads(about.stdout)["settings"]
        except (ValueError, KeyError, TypeError):
            return {"properties": {}, "additionalProperties": True}
        properties = {name: _option(declared) for name, declared in settings.get("properties", {}).items()}
        return {"properties": properties, "required": settings.get("required", [])}

    def check(self, config: Json) -> None:
        """Let the tap discover."""
        self._discover(config)

    def discover(self, config: Json) -> list[Json]:
        """Return the tap's streams."""
        return [to_stream(entry) for entry in self._discover(config)]

    def read(self, config: Json, streams: Sequence[Stream], states: list[Json], output: Output) -> None:
        """Write the tap's records, and its states, each of which stands for all records before it."""
        entries = self._discover(config)
        chosen = {stream.name: stream for stream in streams}
        if missing := set(chosen) - {stream_name(entry) for entry in entries}:
            raise ConnectorError(f"the tap has no stream {', '.join(sorted(missing))}")
        for stream in streams:
            output.status(stream, "STARTED")
        inputs = {"config": config, "catalog": select(entries, chosen)}
        if before := _state(entries, chosen, states):
            inputs["state"] = before
        translate = _Translation(entries, chosen, output)
        for line in self._lines([], inputs):
            translate.take(line)
        for stream in streams:
            output.status(stream, "COMPLETE")

    def _discover(self, config: Json) -> list[Json]:
        text = b"".join(self._lines(["--discover"], {"config": config}))
        try:
            return list(json.loads(text)["streams"])
        except (ValueError, KeyError, TypeError):
            raise ConnectorError(f"{self._tap[-1]} --discover gave no catalog") from None

    def _lines(self, options: list[str], inputs: dict[str, Any]) -> Iterator[bytes]:
        """Run the tap; its log goes to standard error, where ours goes as well."""
        with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "w+") as log:
            for name, content in inputs.items():
                (Path(folder) / f"{name}.json").write_text(json.dumps(content))
                options = [*options, f"--{name}", str(Path(folder) / f"{name}.json")]
            process = subprocess.Popen([*self._tap, *options], stdout=subprocess.PIPE, stderr=log)
            assert process.stdout  # noqa: S101  it was opened with a pipe
            try:
                yield from process.stdout
                code = process.wait()
            finally:
                process.kill()
                process.stdout.close()
                process.wait()
                log.seek(0)
                said = log.read()
                sys.stderr.write(said)
            if code:
                last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
                raise ConnectorError(f"the tap ended with code {code}: {last.strip()[-500:]}", "system_error")


class _Translation:
    """Translates the tap's messages, one line at a time."""

    def __init__(self, entries: Sequence[Json], chosen: dict[str, Stream], output: Output) -> None:
        self._output, self._incremental = output, [s for s in chosen.values() if s.incremental]
        chosen_entries = [entry for entry in entries if stream_name(entry) in chosen]
        self._streams = {
            name: chosen[stream_name(e)] for e in chosen_entries for name in (e["stream"], e.get("tap_stream_id"))
        }
        self._decimals = {stream_name(entry): decimals(to_stream(entry)) for entry in chosen_entries}
        self._exact = any(self._decimals.values())

    def take(self, line: bytes) -> None:
        """Take one line; what is no message goes to the log."""
        try:
            message = json.loads(line, parse_float=Decimal if self._exact else None)
            kind = message["type"]
        except (ValueError, KeyError, TypeError):
            sys.stderr.write(line.decode(errors="replace"))
            return
        if kind == "RECORD":
            self._record(message)
        elif kind == "STATE" and self._incremental:
            shared = {"singer": _with_floats(message["value"])}
            self._output.global_state(shared, [(s.descriptor, {}) for s in self._incremental])

    def _record(self, message: Json) -> None:
        stream = self._streams.get(message["stream"])
        if stream is None:
            raise ConnectorError(f"the tap sent a record of {message['stream']!r}, which was not selected")
        exact = self._decimals[stream.name]
        data = {LOG.get(k, k): v if k in exact else _with_floats(v) for k, v in message["record"].items()}
        if "_ab_cdc_lsn" in data:
            data["_ab_cdc_updated_at"] = message.get("time_extracted")
        record = {"stream": stream.name, "namespace": stream.namespace, "data": data, "emitted_at": now_ms()}
        self._output.emit("RECORD", record=record)


def _with_floats(value: Any) -> Any:
    """Return a value whose numbers are JSON's again."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _with_floats(part) for name, part in value.items()}
    return [_with_floats(part) for part in value] if isinstance(value, list) else value


def _state(entries: Sequence[Json], chosen: dict[str, Stream], states: list[Json]) -> Json | None:
    """Return the tap's last state, without the bookmarks of streams that are read in full."""
    shared = next((s["global"]["shared_state"] for s in states or [] if s.get("type") == "GLOBAL"), None)
    if not shared:
        return None
    state = dict(shared["singer"])
    full = {e.get("tap_stream_id") for e in entries if (s := chosen.get(stream_name(e))) and not s.incremental}
    if isinstance(state.get("bookmarks"), dict):
        state["bookmarks"] = {name: mark for name, mark in state["bookmarks"].items() if name not in full}
    return state


def _option(declared: Json) -> Json:
    kinds = declared.get("type", "string")
    kind = next((k for k in ([kinds] if isinstance(kinds, str) else kinds) if k != "null"), "string")
    secret = bool(declared.get("secret") or declared.get("writeOnly"))
    return declared | {"type": kind} | ({"airbyte_secret": True} if secret else {})


def main() -> int:
    """Split the tap's command from the protocol's."""
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    return run(Singer(sys.argv[1:at]), sys.argv[at + 1 :])


if __name__ == "__main__":
    sys.exit(main())
