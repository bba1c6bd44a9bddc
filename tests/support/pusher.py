"""Pushes messages to a gateway as Pub/Sub does: each again until it is taken, and keeps what each was answered."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from millrace.events.message import Incoming
from tests.support.pushes import wrapped

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
TIMEOUT_S = 60.0


@dataclass
class Pushed:
    """A message of a topic, the times of its first push and of the 204 (0: never), and its answers (0: no answer)."""

    topic: str
    message: Incoming
    sent_at: float = 0.0
    taken_at: float = 0.0
    answers: list[int] = field(default_factory=list)


async def push(gateway: str, token: str, messages: Sequence[Pushed], per_s: float, give_up_s: float) -> None:
    """Push messages at a rate, and repeat those that are not taken until `give_up_s` after the last one."""
    began, end = time.monotonic(), time.monotonic() + len(messages) / per_s + give_up_s
    async with httpx.AsyncClient(timeout=TIMEOUT_S, limits=httpx.Limits(max_connections=500)) as http:

        async def deliver(number: int, pushed: Pushed) -> None:
            await asyncio.sleep(began + number / per_s - time.monotonic())
            pushed.sent_at, pause_s = time.time(), FIRST_PAUSE_S
            while not pushed.taken_at and time.monotonic() < end:
                headers, body = wrapped(pushed.message)
                headers["Authorization"] = f"Bearer {token}"
                try:
                    answer = await http.post(f"{gateway}/push/{pushed.topic}", content=body, headers=headers)
                    pushed.answers.append(answer.status_code)
                except httpx.HTTPError:
                    pushed.answers.append(0)
                if 200 <= pushed.answers[-1] < 300:
                    pushed.taken_at = time.time()
                else:
                    await asyncio.sleep(pause_s)
                    pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

        await asyncio.gather(*(deliver(number, pushed) for number, pushed in enumerate(messages)))


def answers(messages: Sequence[Pushed]) -> dict[int, int]:
    """Return how often each status was answered."""
    return dict(sorted(Counter(status for pushed in messages for status in pushed.answers).items()))
