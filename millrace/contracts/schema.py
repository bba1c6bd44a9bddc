"""The JSON Schema of files in sources/, for editors: `millrace contracts write` writes source.schema.json."""

import json
from pathlib import Path
from typing import Any

from millrace.contracts.source import SourceContract

FILE = Path(__file__).with_name("source.schema.json")
INHERITED = ("source", "stream", "owner", "channel")


def schema() -> dict[str, Any]:
    """Return the schema; a stream inherits source, name and owner from its file, and a key may be `position`."""
    source = SourceContract.model_json_schema()
    stream = source["$defs"]["StreamContract"]
    stream["required"] = [name for name in stream["required"] if name not in INHERITED]
    key = stream["properties"]["key"]
    stream["properties"]["key"] = {"anyOf": [{"const": "position"}, key]}
    config = source["$defs"]["Config"]
    config["anyOf"] = config.pop("oneOf")  # a reference also matches a mapping
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | source


def text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
