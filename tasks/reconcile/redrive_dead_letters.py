"""Redrives the dead letters that would now be accepted, and reports those that a person must decide on."""

import logging
from collections import Counter

from millrace.domain import names
from millrace.domain.findings import Gap
from millrace.events.heal import redrive_deliverable
from millrace.observability.events import log_event
from tasks.context import open_dead_letters
from tasks.emit import emit
from tasks.reconcile.attempt import Attempts
from tasks.retries import uncached_task

log = logging.getLogger(__name__)


@uncached_task(task_run_name="redrive dead letters of {topic}", retries=2)
def redrive_dead_letters(topic: str, dry_run: bool) -> list[Gap]:
    """Publish those dead letters of a topic again that would now be accepted, each once, unless `dry_run`.

    Reads 1,000 messages at most. The others stay: their number is logged, and is an event and a gap if it is not 0.
    """
    outcomes = redrive_deliverable(open_dead_letters(), topic, dry_run=dry_run)
    by_reason = Counter(outcome.why for outcome in outcomes if outcome.done == "kept")
    left = by_reason.total()
    redriven = len(outcomes) - left
    gaps = [Gap(kind="undelivered message", where=topic, count=redriven)] if redriven else []
    log_event(log, logging.INFO, "dead_letters.counted", topic=topic, count=left)
    if by_reason:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in by_reason.most_common(3))
        emit(names.DEAD_LETTERS_FOUND, f"millrace.topic.{topic}", {"topic": topic, "count": left, "why": reasons})
        gaps.append(Gap(kind="dead letter", where=topic, count=left, detail=reasons))
    return gaps


def redrive_all_topics(attempt: Attempts, dry_run: bool) -> list[Gap]:
    """Redrive the dead letters of every topic; returns the gaps."""
    return attempt.each(redrive_dead_letters, [(topic, dry_run) for topic in names.TOPICS])
