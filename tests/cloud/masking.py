"""Requests and answers in; the same without what identifies a project, a person or a moment, and without secrets, out.

A value that an answer gives and a later request repeats (a generation, an ack id) becomes a token such as
`{generation:1}`, so that a conversation can be held again with a server that gives other values.
"""

import re
from typing import Any

from tests.cloud.discovery import Json

OWN_NAME = re.compile(r"millrace([-_])smoke\1[0-9a-f]{8}\1(?:([a-z]+)\1)?[0-9a-f]{6,12}")
EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
TOKEN = re.compile(r"\{[\w-]+:\d+\}")
CREDENTIAL = re.compile(r"\bya29\.[\w.-]+|\beyJ[\w-]+\.[\w-]+\.[\w-]+|-----BEGIN [A-Z ]+-----")
MASKED_DATA = "bWFza2Vk"
MOST_PLAIN = 5  # shorter values, such as a metageneration, identify nothing
# Fields whose values differ each time.
VOLATILE = frozenset(
    """generation metageneration etag id selfLink mediaLink timeCreated updated timeStorageClassUpdated timeDeleted
    timeFinalized messageIds message_ids messageId message_id ackId ack_id publishTime publish_time createTime
    create_time expireTime expire_time jobId creationTime lastModifiedTime startTime endTime nextPageToken projectNumber
    softDeleteTime hardDeleteTime retentionExpirationTime effectiveTime upload_id location user_email requestId
    overwroteGeneration pageToken numericId email totalSlotMs finalExecutionDurationMs""".split()  # noqa: SIM905
)
SECRET_FIELDS = frozenset({"data", "data_crc32c", "dataCrc32c"})


class Masks:
    """The tokens of one conversation."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._tokens: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def _token(self, kind: str, value: str) -> str:
        if value not in self._tokens:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._tokens[value] = f"{{{kind}:{self._counts[kind]}}}"
        return self._tokens[value]

    def text(self, text: str) -> str:
        """Return a text with tokens for the values that an answer gave, and names of resources and people masked."""
        for value in sorted((v for v in self._tokens if len(v) > 5), key=len, reverse=True):
            text = text.replace(value, self._tokens[value])
        text = OWN_NAME.sub(lambda match: self._token(match[2] or "datasets", match[0]), text)
        text = CREDENTIAL.sub("{credential}", text)
        text = EMAIL.sub("someone@example.com", text)
        return re.sub(rf"\b{re.escape(self._project)}\b", "PROJECT", text)

    def request(self, value: Any, *, secret: bool = False) -> Any:
        """Return what is sent, masked."""
        return self._walk(value, "", learns=False, secret=secret)

    def answer(self, value: Any, *, secret: bool = False) -> Any:
        """Return an answer, masked; its volatile values become tokens."""
        return self._walk(value, "", learns=True, secret=secret)

    def _walk(self, value: Any, key: str, *, learns: bool, secret: bool) -> Any:
        if isinstance(value, dict):
            return {
                self.text(str(name)): self._walk(inner, str(name), learns=learns, secret=secret)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._walk(inner, key, learns=learns, secret=secret) for inner in value]
        if secret and key in SECRET_FIELDS:
            return MASKED_DATA if isinstance(value, str) and key == "data" else "{checksum}"
        if isinstance(value, str):
            if value in self._tokens:
                return self._tokens[value]
            is_volatile = key in VOLATILE and len(value) > MOST_PLAIN
            return self._token(key, value) if learns and is_volatile else self.text(value)
        return value


def fill(value: Any, values: dict[str, str]) -> Any:
    """Return what is sent with the values of its tokens."""
    if isinstance(value, dict):
        return {fill(name, values): fill(inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, values) for inner in value]
    if isinstance(value, str):
        return TOKEN.sub(lambda match: values.get(match[0], match[0]), value)
    return value


def learn(recorded: Any, actual: Any, values: dict[str, str]) -> None:
    """Remember the values that an answer has where the recorded one has tokens."""
    if isinstance(recorded, dict) and isinstance(actual, dict):
        for name in recorded.keys() & actual.keys():
            learn(recorded[name], actual[name], values)
    elif isinstance(recorded, list) and isinstance(actual, list):
        for left, other in zip(recorded, actual, strict=False):
            learn(left, other, values)
    elif isinstance(recorded, str) and TOKEN.fullmatch(recorded) and isinstance(actual, str):
        values.setdefault(recorded, actual)


Conversation = list[Json]
