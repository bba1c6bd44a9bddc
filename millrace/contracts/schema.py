"""The JSON Schema of files in sources/, for editors: `python -m millrace.contracts write` writes source.schema.json."""

import json
from pathlib import Path
from typing import Any

from millrace.contracts.source import SourceContract

FILE = Path(__file__).with_name("source.schema.json")
INHERITED = ("source", "stream", "owner")


def schema() -> dict[str, Any]:
    """What a source's file may hold: a stream's source, name and owner come from the file, a key may be `position`."""
    made = SourceContract.model_json_schema()
    stream = made["$defs"]["StreamContract"]
    stream["required"] = [name for name in stream["required"] if name not in INHERITED]
    key = stream["properties"]["key"]
    stream["properties"]["key"] = {"anyOf": [{"const": "position"}, key]}
    config = made["$defs"]["Config"]
    config["anyOf"] = config.pop("oneOf")  # a reference is a mapping too
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | made


def text() -> str:
    """The schema as the file holds it."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
