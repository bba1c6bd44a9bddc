"""Events in; the same events out, marked by whether a run must start for them: `millrace.run: needed` or `active`.

A trigger starts a run for each event that is marked `needed`, at once. A run that has not begun yet, or that holds the
slot and looks for work again after it has released it, takes the work of the others: so a burst starts one run, and
what comes while it is at work is its work too. In doubt a run starts: it ends at once if it finds nothing to do.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from millrace.domain import names
from millrace.events.translate import Event
from millrace.gateway.logs import log_event
from millrace.gateway.outbox import Sender
from millrace.gateway.prefect_runs import PrefectRuns, Run
from millrace.gateway.requested_work import WORK_OF_EVENT, Answer, Work

APART_S = 0.2
SHARE = 4  # of the time, one part in so many is spent on questions, however long an answer takes
APPEARS = timedelta(seconds=3)  # within which Prefect makes the run of an event
PATIENCE_S = 5.0  # a run that is running and has no slot takes or releases it within that


class Needed:
    """A filter before the outbox. All events that wait share one look at Prefect, which begins after they came."""

    def __init__(
        self,
        outbox: Sender,
        runs: PrefectRuns,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox, self._runs, self._patience_s, self._clock = outbox, runs, patience_s, clock
        self._waiting: list[tuple[Work, asyncio.Future[Answer]]] = []
        self._requested: dict[Work, datetime] = {}  # when a run was requested that no look has shown yet
        self._looking: asyncio.Task[None] | None = None

    @property
    def pause_s(self) -> float:
        """Return the seconds until the next try."""
        return self._outbox.pause_s

    def check(self) -> None:
        """Return when an event may be handed over now; raise ServiceUnavailable when not."""
        self._outbox.check()

    async def hand_over(self, event: Event) -> None:
        """Return once Prefect has the event.

        Raises:
            ServiceUnavailable: Prefect did not accept the event, does not answer, or too many events wait for it.
            EventRefused: Prefect rejected the event as invalid.
        """
        self._outbox.check()
        if work_of := WORK_OF_EVENT.get(event.name):
            answer = await self._ask(work_of(event))
            event = event.model_copy(update={"resource": event.resource | {names.RUN_LABEL: answer.value}})
        await self._outbox.hand_over(event)

    async def _ask(self, work: Work) -> Answer:
        """Return whether work needs a run, as soon as that is clear."""
        deadline = self._clock() + self._patience_s
        while True:
            answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._waiting.append((work, answered))
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            if (answer := await answered) is not Answer.UNCLEAR:
                return answer
            if self._clock() > deadline:
                return Answer.NEEDED

    async def _look(self) -> None:
        """Answer those that wait, until none does."""
        while self._waiting:
            waiting, self._waiting, began = self._waiting, [], self._clock()
            answers = await self._answers_or_doubt({work for work, _ in waiting})
            for work, answered in waiting:
                if not answered.done():
                    answered.set_result(answers[work])
                if answers[work] is Answer.NEEDED:
                    answers[work] = Answer.UNCLEAR  # one run is enough for all that wait
            await asyncio.sleep(max(APART_S, (SHARE - 1) * (self._clock() - began)))

    async def _answers_or_doubt(self, works: set[Work]) -> dict[Work, Answer]:
        try:
            return await self._answers(works)
        except Exception as error:  # whatever it is, those that wait must be answered, and the outbox meets it too
            log_event("gateway.runs_unknown", why=str(error) or type(error).__name__)
            return dict.fromkeys(works, Answer.NEEDED)

    async def _answers(self, works: set[Work]) -> dict[Work, Answer]:
        runs = {flow: await self._runs.active(flow) for flow in {work.flow for work in works}}
        answers = {work: await self._answer(work, runs[work.flow]) for work in works}
        return {work: await self._unless_requested(work, answer) for work, answer in answers.items()}

    async def _answer(self, work: Work, runs: list[Run]) -> Answer:
        answer = work.answer(runs, slot_is_held=False)
        if answer is Answer.UNCLEAR and work.slot:
            return work.answer(runs, await self._runs.holds_slot(work.slot))
        return answer

    async def _unless_requested(self, work: Work, answer: Answer) -> Answer:
        """Wait for a run that was requested a moment ago, rather than request a second one."""
        now = datetime.now(UTC)
        self._requested = {other: at for other, at in self._requested.items() if now - at < APPEARS}
        if answer is not Answer.NEEDED:
            return answer
        if at := self._requested.get(work):
            made = await self._runs.since(work.flow, at)
            if not any(work.is_done_by(run) for run in made):
                return Answer.UNCLEAR
        self._requested[work] = now
        return answer
