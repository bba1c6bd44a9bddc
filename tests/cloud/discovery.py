"""An HTTP request in; the method of Google's API that it calls, with its parameters, out.

Google's own descriptions of its REST APIs come with `google-api-python-client`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

Json = dict[str, Any]
DOCUMENTS = {
    "storage": "storage.v1",
    "bigquery": "bigquery.v2",
    "pubsub": "pubsub.v1",
    "secretmanager": "secretmanager.v1",
    "cloudresourcemanager": "cloudresourcemanager.v3",
    "serviceusage": "serviceusage.v1",
    "iam": "iam.v1",
    "cloudbilling": "cloudbilling.v1",
    "compute": "compute.v1",
    "dataflow": "dataflow.v1b3",
}
VARIABLE = re.compile(r"\\\{(\\\+)?(\w+)\\\}")


@dataclass(frozen=True)
class Route:
    """One address of a method: its HTTP method, and the pattern of its path."""

    id: str
    verb: str
    path: re.Pattern[str]


@cache
def document(service: str) -> Json:
    """Return Google's description of an API."""
    folder = files("googleapiclient") / "discovery_cache" / "documents"
    parsed: Json = json.loads((folder / f"{DOCUMENTS[service]}.json").read_text("utf-8"))
    return parsed


def find_method(service: str, verb: str, path: str) -> tuple[str, dict[str, str]]:
    """Return the id of the method at a path, with the parameters in it; '' when the API has no such method."""
    for route in routes(service):
        match = route.path.fullmatch(path) if route.verb == verb else None
        if match:
            return route.id, {name: unquote(value) for name, value in match.groupdict().items()}
    return "", {}


@cache
def routes(service: str) -> tuple[Route, ...]:
    """Return the addresses of all methods of an API."""
    described = document(service)
    addresses = [route for method in methods(described) for route in routes_of(described, method)]
    return tuple(addresses)


def methods(described: Json) -> Iterator[Json]:
    """Yield the methods of an API and of its parts."""
    yield from described.get("methods", {}).values()
    for part in described.get("resources", {}).values():
        yield from methods(part)


def routes_of(described: Json, method: Json) -> Iterator[Route]:
    """Yield the address of a method, and those at which it takes or gives bytes."""
    base = f"/{described['servicePath']}"
    paths = [f"{base}{method['path']}"]
    paths += [protocol["path"] for protocol in method.get("mediaUpload", {}).get("protocols", {}).values()]
    if method.get("supportsMediaDownload"):
        paths.append(f"/download{paths[0]}")
    patterns = {name: rule.get("pattern", "") for name, rule in method.get("parameters", {}).items()}
    for path in paths:
        yield Route(method["id"], method["httpMethod"], re.compile(pattern_of(path, patterns)))


def pattern_of(path: str, patterns: dict[str, str]) -> str:
    """Return the regular expression of a path such as `v1/{+name}:getIamPolicy`."""

    def group(match: re.Match[str]) -> str:
        name = match[2]
        own = patterns.get(name, "").removeprefix("^").removesuffix("$")
        return f"(?P<{name}>{(own or '[^/]+').replace('[^/]+', '[^/:]+') if match[1] else '[^/]+'})"

    return VARIABLE.sub(group, re.escape(path))
