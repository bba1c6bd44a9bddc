"""Runs a connector in this process, as its command line does."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from local.connectors.run import Source, run

Json = dict[str, Any]
Run = Callable[..., list[Json]]


def runner(source: Source, folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that answers one command of a connector; inputs by name become files."""

    def answer(verb: str, **inputs: Any) -> list[Json]:
        arguments = [verb]
        for name, content in inputs.items():
            file = folder / f"{name}.json"
            file.write_text(json.dumps(content))
            arguments += [f"--{name}", str(file)]
        capsys.readouterr()
        run(source, arguments)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return answer


def catalog(streams: Sequence[Json], mode: str = "incremental", cursor: str = "") -> Json:
    """A configured catalog of all streams."""
    return {
        "streams": [
            {"stream": stream, "sync_mode": mode, "cursor_field": [cursor] if cursor else []} for stream in streams
        ]
    }


def records(messages: Sequence[Json], stream: str = "") -> list[Json]:
    """The data of the records."""
    taken = [m["record"] for m in messages if m["type"] == "RECORD"]
    return [record["data"] for record in taken if stream in ("", record["stream"])]


def states(messages: Sequence[Json]) -> list[Json]:
    """The states, as Airbyte gives them back: the last of each stream."""
    kept: dict[str, Json] = {}
    for state in (m["state"] for m in messages if m["type"] == "STATE"):
        name = state["stream"]["stream_descriptor"]["name"] if state["type"] == "STREAM" else ""
        kept[name] = state
    return list(kept.values())


def failure(messages: Sequence[Json]) -> str:
    """The message of the error that ended the connector."""
    return next(str(m["trace"]["error"]["message"]) for m in messages if m.get("trace", {}).get("type") == "ERROR")
