"""Airbyte's notification webhook in, a message on `airbyte-completed` out: `POST /airbyte/<token>`.

Airbyte signs nothing and tells once, so the address holds a secret, and what is told is kept by Pub/Sub before 204.
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
from millrace.gateway.logs import tell
from millrace.gateway.verify import Unauthorised

FRESH_S = 300.0
USABLE_S = 24 * 3600.0
BETWEEN_READS_S, BETWEEN_FIRST_READS_S = 5.0, 1.0
LONGEST_TOKEN = 512


class Token:
    """The secret in the webhook's address: kept for `FRESH_S`, and read again when another is given.

    Whatever callers send, it is read at most once in `BETWEEN_READS_S`, and by one at a time.
    """

    def __init__(self, read: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._value, self._known = "", float("-inf")
        self._tried = float("-inf")
        self._reading = asyncio.Lock()

    async def check(self, given: str) -> None:
        """Let a caller pass, or not; how long that takes tells nothing of the secret but its length.

        Raises:
            Unauthorised: it is another.
            ServiceUnavailable: the secret can't be read, or was last read more than `USABLE_S` ago.
        """
        if len(given) > LONGEST_TOKEN:
            raise Unauthorised(f"a token of {len(given)} characters in the webhook's address")
        if not self._is(given) or self._clock() - self._known > FRESH_S:
            async with self._reading:
                if self._clock() - self._tried > (BETWEEN_READS_S if self._value else BETWEEN_FIRST_READS_S):
                    await self._renew()
        if self._clock() - self._known > USABLE_S:
            raise ServiceUnavailable("the secret of the webhook's address can't be read")
        if not self._is(given):
            raise Unauthorised("another token in the webhook's address")

    def _is(self, given: str) -> bool:
        return bool(self._value) and hmac.compare_digest(self._value.encode(), given.encode())

    async def _renew(self) -> None:
        try:
            self._value, self._known = await asyncio.to_thread(self._read), self._clock()
        except ServiceUnavailable as error:
            tell("gateway.token_away", why=str(error))
        finally:
            self._tried = self._clock()


class Webhook:
    """Takes what Airbyte tells of ended syncs; `publish` returns once Pub/Sub has the message."""

    def __init__(self, token: Token, publish: Callable[[AirbyteCompleted], str]) -> None:
        self._token, self._publish = token, publish

    async def post(self, request: Request) -> Response:
        """One notification; 401 without the token, before its body is read."""
        return await answer(request, {"topic": names.AIRBYTE_COMPLETED}, self._take, lambda: BETWEEN_READS_S)

    async def _take(self, request: Request, fields: Fields) -> str:
        await self._token.check(request.path_params["token"])
        completed = parse(await read_body(request))
        if completed is None:
            return "gateway.ignored"
        fields |= {"job_id": completed.data.job_id, "message_id": await asyncio.to_thread(self._publish, completed)}
        return "gateway.accepted"


def parse(body: bytes) -> AirbyteCompleted | None:
    """The ended sync of a notification; None for others' syncs and other things, such as Airbyte's own test.

    Raises:
        EventRefused: it is no JSON object, or an ended sync that lacks something.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EventRefused(f"the notification is not JSON: {error}") from None
    if not isinstance(told, dict):
        raise EventRefused("the notification is no JSON object")
    if not isinstance(told.get("data"), dict) or "jobId" not in told["data"]:
        return None
    message = Incoming(message_id="webhook", publish_time=datetime.now(UTC).isoformat(), data=body)
    return AirbyteCompleted.model_validate(told) if translate(names.AIRBYTE_COMPLETED, message) else None
