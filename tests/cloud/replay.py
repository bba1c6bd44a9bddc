"""A recorded or documented conversation held again with another server in; how its answers differ in shape out."""

import base64
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import requests
from google.cloud.secretmanager_v1 import types as secret_types
from google.protobuf.descriptor_pool import Default
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass
from google.pubsub_v1 import types as pubsub_types

from tests.cloud.discovery import Json
from tests.cloud.masking import TOKEN, fill, learn
from tests.cloud.recording import as_dict, body_of
from tests.cloud.target import Target

SERVICES = {"pubsub": "google.pubsub.v1", "secretmanager": "google.cloud.secretmanager.v1"}
TYPES = {"google.pubsub.v1": pubsub_types, "google.cloud.secretmanager.v1": secret_types}
EMPTY = Empty.DESCRIPTOR.full_name
WORDS = re.compile(r"[A-Za-z][A-Za-z']+")
FIELD = re.compile(r"\[[^\]]*\]|\(resource=[^)]*\)|'[^']*'|\"[^\"]*\"|`[^`]*`|\S*[/:@{}\d]\S*")


class Servers:
    """The servers that a conversation is held with."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._channels: dict[str, Any] = {}

    def answer(self, call: Json, values: dict[str, str]) -> Json:
        """Send a call and return its answer as fixtures have it."""
        sent_request = fill(call["request"], values)
        return self._http(call, sent_request) if call["protocol"] == "http" else self._grpc(call, sent_request)

    def _http(self, call: Json, sent_request: Json) -> Json:
        body = sent_request.get("body")
        data: bytes | None = json.dumps(body).encode() if body is not None else None
        if isinstance(body, dict) and set(body) == {"text"}:
            data = body["text"].encode()
        elif isinstance(body, dict) and set(body) == {"base64"}:
            data = base64.b64decode(body["base64"])
        url = f"{self._target.base(call['service'])}{quote(sent_request['path'], safe='/%:')}"
        got = requests.request(
            sent_request["verb"],
            url,
            params=sent_request.get("query"),
            headers=sent_request.get("headers"),
            data=data,
            timeout=30,
        )
        streamed = (sent_request.get("query") or {}).get("alt") == "media"
        return {
            "status": got.status_code,
            "headers": dict(got.headers),
            "body": None if streamed else body_of(got.content),
        }

    def _grpc(self, call: Json, sent_request: Json) -> Json:
        service = call["service"]
        channel = self._channels.setdefault(service, grpc.insecure_channel(self._target.endpoint(service)))
        _, room, verb = call["method"].split(".")
        path = f"/{SERVICES[service]}.{room}/{verb}"
        method = channel.unary_unary(path, lambda message: message.SerializeToString(), lambda data: data)
        try:
            data = method(ParseDict(sent_request, type_of(call["type"])(), ignore_unknown_fields=True), timeout=30)
        except grpc.RpcError as error:
            return {"status": error.code().name, "message": error.details() or ""}
        return {"status": "OK", "body": as_dict(type_of(call.get("gives", EMPTY)).FromString(data))}


def type_of(name: str) -> Any:
    """Return the class of a message by its full name."""
    package, _, own = name.rpartition(".")
    return (
        getattr(TYPES[package], own).pb()
        if package in TYPES
        else GetMessageClass(Default().FindMessageTypeByName(name))
    )


def replay(conversation: Json, servers: Servers, project: str, names: dict[str, str]) -> Iterator[str]:
    """Hold a conversation with servers; yield a sentence for each answer whose shape differs.

    `names` are the values of tokens of resources, which no answer gives.
    """
    values = dict(names)
    for number, call in enumerate(conversation["calls"], 1):
        sent = json.loads(json.dumps(call).replace("PROJECT", project))
        for token in sorted(set(TOKEN.findall(json.dumps(sent["request"]))) - set(values)):
            kind, _, digits = token.strip("{}").partition(":")
            name = f"{kind}-replayed-{digits}-{conversation.get('id', 'x')}"
            values[token] = name.replace("-", "_") if kind == "datasets" else name
        got = servers.answer(sent, values)
        learn(sent["answer"].get("body"), got.get("body"), values)
        learn(lowered(sent["answer"].get("headers")), lowered(got.get("headers")), values)
        for difference in differences(call["answer"], got, tuple(conversation.get("lacks", ()))):
            yield f"call {number}, {call['method']}: {difference}"


def lowered(headers: Any) -> Json:
    """Return headers with names in lower case."""
    return {name.lower(): value for name, value in (headers or {}).items()}


def differences(recorded: Json, actual: Json, lacks: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield how an answer differs in shape: status, an error's reason and words, fields and types.

    `lacks` are paths of fields that the other server is known not to have.
    """
    if recorded["status"] != actual["status"]:
        yield f"the status is {actual['status']}, not {recorded['status']}"
        return
    if words(recorded.get("message", "")) - words(actual.get("message", "")):
        yield f"the message is {actual.get('message')!r}, not {recorded.get('message')!r}"
    if recorded.get("body") is not None:
        yield from _fields(recorded["body"], actual.get("body"), "", lacks)


def _fields(recorded: Any, actual: Any, path: str, lacks: tuple[str, ...]) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(actual, dict):
        for name, value in recorded.items():
            place = f"{path}.{name}".strip(".")
            if TOKEN.search(name):
                continue
            if name not in actual:
                if place not in lacks:
                    yield f"the field {place} is missing"
            elif name in ("message", "reason", "status", "domain") and "error" in place:
                yield from _error(place, value, actual[name])
            else:
                yield from _fields(value, actual[name], place, lacks)
    elif isinstance(recorded, list) and isinstance(actual, list):
        if bool(recorded) != bool(actual):
            yield f"the list {path} is {'empty' if recorded else 'not empty'}"
        elif recorded:
            yield from _fields(recorded[0], actual[0], f"{path}[]", lacks)
    elif type(recorded) is not type(actual):
        yield f"the field {path or 'body'} is of type {type(actual).__name__}, not {type(recorded).__name__}"


def _error(place: str, recorded: Any, actual: Any) -> Iterator[str]:
    if place.endswith("message"):
        if missing := sorted(words(recorded) - words(actual)):
            yield f"{place} is {actual!r}, without the words {', '.join(missing)}"
    elif recorded != actual:
        yield f"{place} is {actual!r}, not {recorded!r}"


def words(text: Any) -> set[str]:
    """Return the words of a message without names, addresses and numbers."""
    return {word.lower() for word in WORDS.findall(FIELD.sub(" ", str(text)))}


def load(path: Path) -> Json:
    """Return a fixture with an id for the names of its resources."""
    fixture: Json = json.loads(path.read_text())
    return fixture | {"id": uuid.uuid4().hex[:8]}
