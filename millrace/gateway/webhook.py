"""Airbyte's notification webhook in, a message on `airbyte-completed` out: `POST /airbyte/<token>`.

Airbyte signs nothing and never repeats a notification, so the address holds a secret, and Pub/Sub stores the message
before the answer 204.
"""

import asyncio
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from millrace.domain import names
from millrace.domain.airbyte import AirbyteCompleted
from millrace.domain.errors import EventRefused, ServiceUnavailable
from millrace.events.message import Incoming
from millrace.events.translate import translate
from millrace.gateway.answer import Fields, answer, read_body
from millrace.gateway.refreshed import Ages, Refreshed
from millrace.gateway.verify import Unauthorised

AGES = Ages(fresh_s=300, usable_s=24 * 3600, apart_s=5)
LONGEST_TOKEN = 512


class Token:
    """The secret in the webhook's address: read every 5 minutes, and for another token at most every 5 seconds."""

    def __init__(self, read: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._secret = Refreshed(self._fetch, "", AGES, "gateway.token_away", clock)

    async def check(self, token: str) -> None:
        """Compare a caller's token with the secret, in constant time.

        Raises:
            Unauthorised: the token differs.
            ServiceUnavailable: the secret was not read within `AGES.usable_s`.
        """
        if len(token) > LONGEST_TOKEN:
            raise Unauthorised(f"a token of {len(token)} characters in the webhook's address")
        try:
            secret = await self._secret.get(lambda secret: _equal(secret, token))
        except ServiceUnavailable:
            raise ServiceUnavailable("the secret of the webhook's address can't be read") from None
        if not _equal(secret, token):
            raise Unauthorised("another token in the webhook's address")

    async def _fetch(self) -> str:
        return await asyncio.to_thread(self._read)


def _equal(secret: str, token: str) -> bool:
    return bool(secret) and hmac.compare_digest(secret.encode(), token.encode())


class Webhook:
    """The endpoint for Airbyte's notifications of ended syncs; `publish` returns once Pub/Sub has the message."""

    def __init__(self, token: Token, publish: Callable[[AirbyteCompleted], str]) -> None:
        self._token, self._publish = token, publish

    async def post(self, request: Request) -> Response:
        """Handle one notification; answer 401 without the token, before its body is read."""
        return await answer(request, {"topic": names.AIRBYTE_COMPLETED}, self._take, lambda: AGES.apart_s)

    async def _take(self, request: Request, fields: Fields) -> str:
        await self._token.check(request.path_params["token"])
        completed = parse(await read_body(request))
        if completed is None:
            return "gateway.ignored"
        fields |= {"job_id": completed.data.job_id, "message_id": await asyncio.to_thread(self._publish, completed)}
        return "gateway.accepted"


def parse(body: bytes) -> AirbyteCompleted | None:
    """Return the ended sync of a notification; None for syncs of others and other messages, such as Airbyte's own test.

    Raises:
        EventRefused: the body is not a JSON object, or an ended sync lacks a field.
    """
    try:
        notification = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EventRefused(f"the notification is not JSON: {error}") from None
    if not isinstance(notification, dict):
        raise EventRefused("the notification is not a JSON object")
    if not isinstance(notification.get("data"), dict) or "jobId" not in notification["data"]:
        return None
    message = Incoming(message_id="webhook", publish_time=datetime.now(UTC).isoformat(), data=body)
    return AirbyteCompleted.model_validate(notification) if translate(names.AIRBYTE_COMPLETED, message) else None
