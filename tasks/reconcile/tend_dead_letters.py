"""Publishes again what a topic could not deliver and could now, and counts what needs a person."""

import logging
from collections import Counter

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from millrace.domain import names
from millrace.domain.findings import Found
from millrace.events.heal import heal
from tasks.context import open_dead_letters, run_id
from tasks.retries import DELAYS_S, is_transient

log = logging.getLogger(__name__)


@task(
    task_run_name="tend dead letters of {topic}",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def tend_dead_letters(topic: str, dry_run: bool) -> list[Found]:
    """Publish a topic's dead letters (1,000 at most) that would be taken now again, each once, unless `dry_run`.

    The others stay: a log line with their number, and an event and a finding when there are some.
    """
    done = heal(open_dead_letters(), topic, dry_run=dry_run)
    by_reason = Counter(one.why for one in done if one.done == "kept")
    again = len(done) - by_reason.total()
    found = [Found(kind="undelivered message", where=topic, count=again)] if again else []
    fields = {"topic": topic, "count": by_reason.total()}
    log.info("dead_letters.counted", extra={"event": "dead_letters.counted", "fields": fields})
    if by_reason:
        why = "; ".join(f"{count} x {reason}" for reason, count in by_reason.most_common(3))
        resource = {"prefect.resource.id": f"millrace.topic.{topic}"}
        payload = {"v": 1, "why": why, "run_id": run_id()} | fields
        emit_event(names.DEAD_LETTERS_FOUND, resource=resource, payload=payload)
        found.append(Found(kind="dead letter", where=topic, count=by_reason.total(), detail=why))
    return found
