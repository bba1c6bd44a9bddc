"""A steady load of pushes on a gateway, with Pub/Sub's redelivery: what each push met."""

import asyncio
import base64
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from millrace.domain import names

CONNECTIONS = 300  # an answer may take a second, as landings wait for each other
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 10.0
PATIENCE_S = 120.0


@dataclass
class Met:
    """Answers by status (0: none), seconds to each first answer, and how many messages were never taken."""

    statuses: Counter[int] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list, repr=False)
    redelivered: int = 0
    given_up: int = 0
    seconds: float = 0

    def quantile_ms(self, share: float) -> float:
        """Milliseconds within which this share of the messages got its first answer."""
        return sorted(self.took_s)[int((len(self.took_s) - 1) * share)] * 1000


def push_body(message_id: str, streams: int) -> bytes:
    """A landing of one of the streams, as Pub/Sub pushes it."""
    stream = f"s{int(message_id) % streams}"
    path = f"{names.manifests_prefix('shop', stream)}20260101/c-{int(message_id):012d}.json"
    attributes = {"eventType": "OBJECT_FINALIZE", "objectId": path, "objectGeneration": "1", "bucketId": "lake"}
    message = {
        "messageId": message_id,
        "publishTime": datetime.now(UTC).isoformat(),
        "attributes": attributes,
        "data": base64.b64encode(json.dumps({"name": path}).encode()).decode(),
    }
    return json.dumps({"message": message, "subscription": "projects/bench/subscriptions/lake-landed-gateway"}).encode()


async def push_steadily(url: str, token: str, per_s: int, seconds: int, streams: int) -> Met:
    """Push `per_s` messages a second for so many seconds, and each again until it is taken."""
    met, began, tasks = Met(), time.monotonic(), []
    flying = asyncio.Semaphore(CONNECTIONS)
    patient = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=patient, connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as http:
        for number in range(per_s * seconds):
            await asyncio.sleep(max(0.0, began + number / per_s - time.monotonic()))
            tasks.append(
                asyncio.create_task(_deliver(http, flying, url, token, push_body(str(number + 1), streams), met))
            )
        met.seconds = time.monotonic() - began
        await asyncio.gather(*tasks)
    return met


async def _deliver(
    http: aiohttp.ClientSession, flying: asyncio.Semaphore, url: str, token: str, body: bytes, met: Met
) -> None:
    pause_s, deadline = FIRST_PAUSE_S, float("inf")
    while time.monotonic() < deadline:
        async with flying:
            began = time.monotonic()
            status = await _push(http, url, token, body)
        if deadline == float("inf"):
            met.took_s.append(time.monotonic() - began)
            deadline = time.monotonic() + PATIENCE_S  # of tries, as Pub/Sub counts them: not of the pusher's own queue
        met.statuses[status] += 1
        if status == 204:
            return
        met.redelivered += 1
        await asyncio.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
    met.given_up += 1


async def _push(http: aiohttp.ClientSession, url: str, token: str, body: bytes) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with http.post(f"{url}/push/{names.LAKE_LANDED}", data=body, headers=headers) as answer:
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0
