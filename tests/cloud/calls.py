"""Requests as they leave the official clients in; one type of call, with what it touches, out."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from google.protobuf.json_format import MessageToDict

from tests.cloud.discovery import DOCUMENTS, Json, find_method
from tests.cloud.target import Target

GRPC = re.compile(r"/google\.(?:cloud\.)?([\w.]+)\.(\w+)/(\w+)")
NAMED = re.compile(
    r"(?://pubsub\.googleapis\.com/)?projects/[^/]+/(topics|subscriptions|snapshots|secrets|datasets)/([^/]+).*"
)
GCS = re.compile(r"gs://([^/]+)/")
BATCH = "storage.batch"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Touched:
    """A resource that a call names: its kind in the plural, as in addresses, and its name."""

    kind: str
    name: str


@dataclass(frozen=True)
class Call:
    """A call of one method; `touched` are the resources that it names, `body` what is sent."""

    method: str
    touched: tuple[Touched, ...] = ()
    body: Json = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        """Return the touched resources as one text."""
        return " ".join(f"{t.kind}/{t.name}" for t in self.touched)


def http_call(target: Target, verb: str, url: str, content: bytes | str | None) -> Call:
    """Return the call that an HTTP request is; its method is `unknown` when no API that the kit calls has it."""
    for service in DOCUMENTS:
        base = target.base(service)
        if url.startswith(f"{base}/"):
            return _rest(service, verb, urlsplit(url.removeprefix(base)), content)
    return Call(UNKNOWN, body={"address": f"{verb} {url.partition('?')[0]}"})


def _rest(service: str, verb: str, url: Any, content: bytes | str | None) -> Call:
    query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    if service == "storage" and url.path == "/batch/storage/v1":
        return Call(BATCH, tuple(_batched(content)))
    method, parameters = find_method(service, verb, url.path)
    if service == "storage" and "upload_id" in query:
        method, parameters = "storage.objects.insert", {"bucket": url.path.split("/b/")[1].split("/")[0]}
    if service == "storage" and not method:
        method, parameters = _xml(verb, url.path)
    body = _json(content)
    return Call(method or UNKNOWN, tuple(_touched(service, method, parameters, body)), body, query | parameters)


def _xml(verb: str, path: str) -> tuple[str, dict[str, str]]:
    """Return the method that reads or writes an object at the address of the XML API."""
    parts = path.strip("/").split("/", 1)
    ids = {"GET": "storage.objects.get", "HEAD": "storage.objects.get", "PUT": "storage.objects.insert"}
    return (ids.get(verb, ""), {"bucket": unquote(parts[0])}) if len(parts) == 2 else ("", {})


def _json(content: bytes | str | None) -> Json:
    """Return the JSON of a body, that of the first part of a multipart one; without any an empty object."""
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    if not isinstance(text, str):
        return {}
    if text.startswith("--"):
        text = text.replace("\r\n", "\n").split("\n\n", 2)[1].split("\n--")[0]
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _batched(content: bytes | str | None) -> Iterator[Touched]:
    """Yield the buckets of the calls in a batch."""
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content or "")
    for bucket in re.findall(r"^[A-Z]+ \S*?/b/([^/?\s]+)", text, re.M):
        yield Touched("buckets", unquote(bucket))


def _touched(service: str, method: str, parameters: dict[str, str], body: Json) -> Iterator[Touched]:
    if service == "storage":
        buckets = [parameters.get("bucket"), parameters.get("destinationBucket"), parameters.get("sourceBucket")]
        buckets += [body.get("name")] if method == "storage.buckets.insert" else []
        yield from (Touched("buckets", name) for name in buckets if name)
    elif service == "bigquery":
        yield from (Touched("datasets", name) for name in _datasets(parameters, body))
        yield from (Touched("buckets", name) for name in GCS.findall(json.dumps(body)))
    elif service == "dataflow" and body.get("name"):
        yield Touched("jobs", body["name"])
    elif name := parameters.get("name") or parameters.get("resource"):
        yield from named([name])


def _datasets(parameters: dict[str, str], body: Any) -> Iterator[str]:
    """Yield the datasets of a call, wherever its body names one; those in SQL are found by `sql_datasets`."""
    if "datasetId" in parameters:
        yield parameters["datasetId"]
    yield from dict.fromkeys(values_of(body, "datasetId"))


def values_of(body: Any, key: str) -> Iterator[str]:
    """Yield the values of a key at any depth."""
    if isinstance(body, dict):
        for name, value in body.items():
            if name == key and isinstance(value, str):
                yield value
            yield from values_of(value, key)
    elif isinstance(body, list):
        for value in body:
            yield from values_of(value, key)


def named(texts: Any) -> Iterator[Touched]:
    """Yield the topics, subscriptions, snapshots, secrets and datasets that texts name."""
    for text in texts:
        if match := NAMED.fullmatch(text):
            yield Touched(match[1], match[2])


def grpc_call(method: str, message: Any) -> Call:
    """Return the call that a gRPC request is; `message` is a protobuf message, or None for a stream."""
    match = GRPC.fullmatch(method)
    if not match:
        return Call(UNKNOWN, body={"address": method})
    service = "pubsub" if match[2] == "IAMPolicy" else match[1].split(".")[0]  # Secret Manager has its own method
    body: Json = {} if message is None else MessageToDict(message, preserving_proto_field_name=True)
    touched = dict.fromkeys(named(texts_of(body)))
    if "secret_id" in body:
        touched[Touched("secrets", body["secret_id"])] = None
    if service == "dataflow" and isinstance(body.get("job"), dict) and body["job"].get("name"):
        touched[Touched("jobs", body["job"]["name"])] = None
    return Call(f"{service}.{match[2]}.{match[3]}", tuple(touched), body)


def texts_of(body: Any) -> Iterator[str]:
    """Yield every text of a message, at any depth."""
    if isinstance(body, str):
        yield body
    elif isinstance(body, dict):
        for value in body.values():
            yield from texts_of(value)
    elif isinstance(body, list):
        for value in body:
            yield from texts_of(value)
