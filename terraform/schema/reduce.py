"""Makes google-6.50.json, the arguments of the resource types that `terraform/` uses, out of npm's typed bindings.

The provider's own schema needs Terraform's registry; `@cdktf/provider-google` carries the same as JSON:

    npm pack @cdktf/provider-google@16.12.1 && tar xzf cdktf-provider-google-16.12.1.tgz package/.jsii
    python terraform/schema/reduce.py package/.jsii > terraform/schema/google-6.50.json
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
PREFIX = "@cdktf/provider-google."
TYPE = re.compile(r'^(resource|data) "(google_\w+)"', re.M)
DOCS = re.compile(r"#\w+ [\w.]+#(\w+)\}")


def reduce(types: Json, kind: str, name: str) -> Json:
    """Arguments of one resource or data source: whether each is required, and those of blocks."""
    camel = "".join(part.capitalize() for part in name.removeprefix("google_").split("_"))
    camel = ("DataGoogle" if kind == "data" else "") + camel
    config = f"{PREFIX}{camel[0].lower()}{camel[1:]}.{camel}Config"
    if config not in types:
        sys.exit(f"{config} is not there: is {name} spelt rightly?")
    return arguments(types, types[config])


def arguments(types: Json, interface: Json) -> Json:
    """Arguments of an interface, blocks opened."""
    schema: Json = {}
    for field in interface.get("properties", []):
        docs = field.get("docs", {})
        named = DOCS.findall(docs.get("summary", "") + docs.get("remarks", ""))
        name = named[-1] if named else re.sub(r"(?<!^)([A-Z])", r"_\1", field["name"]).lower()
        block = block_of(types, field["type"])
        schema[name] = {"required": not field.get("optional", False)} | ({"block": block} if block else {})
    return schema


def block_of(types: Json, kind: Json) -> Json | None:
    """Arguments of the block that a type stands for, None for plain values."""
    for part in [kind, *kind.get("union", {}).get("types", [])]:
        part = part.get("collection", {}).get("elementtype", part)
        if (name := part.get("fqn", "")).startswith(PREFIX):
            return arguments(types, types[name])
    return None


def main() -> None:
    """Print the reduced schema as JSON."""
    source = Path(sys.argv[1]).read_text()
    types = json.loads(source)["types"]
    folder = Path(__file__).resolve().parents[1]
    used = sorted({match for path in folder.rglob("*.tf") for match in TYPE.findall(path.read_text())})
    schema = {f"{kind}.{name}": reduce(types, kind, name) for kind, name in used}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(schema[name], sort_keys=True)}" for name in schema)
    sys.stdout.write(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
