"""Makes google-6.50.json, the arguments of the resource types that `terraform/` uses, out of npm's typed bindings.

The providers' own schemas need Terraform's registry; `@cdktf/provider-…` carry the same as JSON:

    for package in google@16.12.1 google-beta@16.12.1 time@11.0.1; do
      npm pack "@cdktf/provider-$package" && mkdir "$package" && tar xzf cdktf-provider-${package/@/-}.tgz -C "$package"
    done
    python terraform/schema/reduce.py google*/package/.jsii time*/package/.jsii > terraform/schema/google-6.50.json
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
PREFIXES = ("@cdktf/provider-google.", "@cdktf/provider-google-beta.", "@cdktf/provider-time.")
TYPE = re.compile(r'^(resource|data) "((?:google|time)_\w+)"', re.M)
DOCS = re.compile(r"#\w+ [\w.]+#(\w+)\}")


def reduce(types: Json, kind: str, name: str) -> Json:
    """Arguments of one resource or data source: whether each is required, and those of blocks."""
    spelt = name.removeprefix("google_").removeprefix("time_")
    camel = "".join(part.capitalize() for part in spelt.split("_"))
    # Providers of one resource name their classes for it; the beta provider keeps "google" in them.
    for prefix, first in ((p, f) for p in PREFIXES for f in ("", "Google")):
        whole = ("DataGoogle" if kind == "data" else first) + camel
        config = f"{prefix}{whole[0].lower()}{whole[1:]}.{whole}Config"
        if config in types:
            return arguments(types, types[config])
    sys.exit(f"no provider has {name}: is it spelt rightly?")


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
        if (name := part.get("fqn", "")).startswith(PREFIXES):
            return arguments(types, types[name])
    return None


def main() -> None:
    """Print the reduced schema as JSON."""
    types = {name: kind for file in sys.argv[1:] for name, kind in json.loads(Path(file).read_text())["types"].items()}
    folder = Path(__file__).resolve().parents[1]
    used = sorted({match for path in folder.rglob("*.tf") for match in TYPE.findall(path.read_text())})
    schema = {f"{kind}.{name}": reduce(types, kind, name) for kind, name in used}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(schema[name], sort_keys=True)}" for name in schema)
    sys.stdout.write(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
