"""A steady load of pushes on a gateway, with Pub/Sub's redelivery: what each push met."""

import asyncio
import base64
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from contracts import names

CONNECTIONS = 100
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 10.0
PATIENCE_S = 120.0


@dataclass
class Met:
    """Answers by status (0: none), seconds to each first answer, and messages that were never taken."""

    statuses: Counter[int] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list, repr=False)
    redelivered: int = 0
    given_up: list[str] = field(default_factory=list)
    seconds: float = 0

    def quantile_ms(self, share: float) -> float:
        """Milliseconds within which this share of the messages got its first answer."""
        return sorted(self.took_s)[int((len(self.took_s) - 1) * share)] * 1000


def push_body(message_id: str, streams: int) -> bytes:
    """A landing of one of the streams, as Pub/Sub pushes it."""
    stream = f"s{int(message_id) % streams}"
    path = f"{names.manifests_prefix('shop', stream)}20260101/c-{int(message_id):012d}.json"
    attributes = {"eventType": "OBJECT_FINALIZE", "objectId": path, "objectGeneration": "1", "bucketId": "lake"}
    message = {"messageId": message_id, "publishTime": datetime.now(UTC).isoformat(), "attributes": attributes,
               "data": base64.b64encode(json.dumps({"name": path}).encode()).decode()}  # fmt: skip
    return json.dumps({"message": message, "subscription": "projects/bench/subscriptions/lake-landed-gateway"}).encode()


async def push_steadily(url: str, token: str, per_s: int, seconds: int, streams: int) -> Met:
    """Push `per_s` messages a second for so many seconds, and each again until it is taken."""
    met, began, tasks = Met(), time.monotonic(), []
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(timeout=60, limits=limits) as http:
        for number in range(per_s * seconds):
            await asyncio.sleep(max(0.0, began + number / per_s - time.monotonic()))
            tasks.append(asyncio.create_task(_deliver(http, url, token, str(number + 1), streams, met)))
        met.seconds = time.monotonic() - began
        await asyncio.gather(*tasks)
    return met


async def _deliver(http: httpx.AsyncClient, url: str, token: str, message_id: str, streams: int, met: Met) -> None:
    body, began = push_body(message_id, streams), time.monotonic()
    pause_s = FIRST_PAUSE_S
    while time.monotonic() - began < PATIENCE_S:
        first = pause_s == FIRST_PAUSE_S
        try:
            answer = await http.post(
                f"{url}/push/{names.LAKE_LANDED}", content=body, headers={"Authorization": f"Bearer {token}"}
            )
            status = answer.status_code
        except httpx.HTTPError:
            status = 0
        met.statuses[status] += 1
        if first:
            met.took_s.append(time.monotonic() - began)
        if status == 204:
            return
        met.redelivered += 1
        await asyncio.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
    met.given_up.append(message_id)
