"""Calls of a test with their answers in; a file with the masked conversation out, from which a fixture is made."""

import base64
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tests.cloud.calls import Call
from tests.cloud.discovery import Json
from tests.cloud.masking import Masks
from tests.cloud.target import Running

MOST_BYTES, MOST_CALLS = 8192, 60
HEADERS = ("content-type", "content-range", "location", "range", "x-goog-hash", "x-goog-stored-content-length")
SENT = ("content-type", "content-range", "range", "x-upload-content-type", "x-goog-if-generation-match")
SKIPPED = ("oauth2.", "metadata", "cloudresourcemanager.")


class Recorder:
    """Writes the conversation of each test into a folder."""

    def __init__(self, folder: Path, run: Running) -> None:
        self._folder, self._run = folder, run
        self._test, self._masks = "", Masks(run.target.project)
        self._calls: list[Json] = []

    def begin(self, test: str) -> None:
        """Begin the conversation of a test."""
        self._test, self._calls, self._masks = test, [], Masks(self._run.target.project)

    def end(self) -> None:
        """Write the conversation."""
        if not self._test or not self._calls:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        origin = "Google Cloud" if self._run.target.is_google else "local servers"
        name = re.sub(r"[^\w-]+", "-", self._test.rpartition("::")[2]).strip("-")
        content = {"source": "recorded", "origin": origin, "test": self._test, "calls": self._calls}
        (self._folder / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        self._test = ""

    def answered(self, call: Call, request: Any, answer: Any) -> None:
        """Add a call and its answer."""
        if answer is None:
            self._test = ""  # a stream: what it gives is not recorded, so the conversation would have a hole
        if not self._test or call.method.startswith(SKIPPED) or len(self._calls) >= MOST_CALLS:
            return
        secret = call.method.startswith("secretmanager.")
        entry = self._http(request, answer) if hasattr(answer, "status_code") else self._grpc(request, answer, secret)
        if entry:
            self._calls.append({"service": call.method.split(".")[0], "method": call.method} | entry)

    def _http(self, request: Any, answer: Any) -> Json:
        url = urlsplit(request.url)
        masks = self._masks
        sent = {name: text_of(request.headers[name]) for name in SENT if name in request.headers}
        sent_request = {
            "verb": request.method,
            "path": masks.request(url.path),
            "query": masks.request(dict(parse_qsl(url.query, keep_blank_values=True))),
            "headers": masks.request(sent),
            "body": masks.request(body_of(request.body)),
        }
        headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
        streamed = "alt=media" in url.query  # its bytes are for the client, who has not read them yet
        content = None if streamed else body_of(answer.content)
        got = {"status": answer.status_code, "headers": masks.answer(headers), "body": masks.answer(content)}
        return {"protocol": "http", "request": sent_request, "answer": got}

    def _grpc(self, request: Any, outcome: Any, secret: bool) -> Json:
        code = outcome.code().name
        sent_request = self._masks.request(as_dict(request), secret=secret)
        got: Json = {"status": code}
        kinds = {"type": type(request).DESCRIPTOR.full_name}
        if code == "OK":
            message = raw(outcome.result())
            kinds["gives"] = type(message).DESCRIPTOR.full_name
            got["body"] = self._masks.answer(as_dict(message), secret=secret)
        else:
            got["message"] = self._masks.text(outcome.details() or "")
        return {"protocol": "grpc"} | kinds | {"request": sent_request, "answer": got}


def text_of(value: str | bytes) -> str:
    """Return a header's value as text."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def as_dict(message: Any) -> Json:
    """Return a protobuf message as JSON values."""
    fields: Json = MessageToDict(raw(message), preserving_proto_field_name=True)
    return fields


def raw(message: Any) -> Any:
    """Return the protobuf message of a message of either kind that Google's clients have."""
    return message if isinstance(message, Message) else type(message).pb(message)


def body_of(content: Any) -> Any:
    """Return a body as JSON values, as text, or as base64 of few bytes; None when it has none or too many."""
    if content is None or isinstance(content, str):
        content = (content or "").encode()
    if not isinstance(content, bytes) or not content or len(content) > MOST_BYTES:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}
    try:
        return json.loads(text)
    except ValueError:
        return {"text": text}
