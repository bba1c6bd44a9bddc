"""Counts what the topics could not deliver."""

import logging
from collections import Counter

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from contracts import names
from contracts.findings import Found
from tasks.place import open_dead_letters
from tasks.retries import DELAYS_S, is_transient
from tasks.run_id import run_id
from tasks.sort_dead_letters import reasons

log = logging.getLogger(__name__)


@task(task_run_name="count dead letters of {topic}", retries=2, retry_delay_seconds=DELAYS_S,
      retry_condition_fn=is_transient, cache_policy=NO_CACHE)  # fmt: skip
def count_dead_letters(topic: str) -> list[Found]:
    """Dead letters of a topic (1,000 at most): a log line, and an event and a finding when there are some."""
    by_reason = Counter(reasons(open_dead_letters(), topic))
    fields = {"topic": topic, "count": by_reason.total()}
    log.info("dead_letters.counted", extra={"event": "dead_letters.counted", "fields": fields})
    if not by_reason:
        return []
    why = "; ".join(f"{count} x {reason}" for reason, count in by_reason.most_common(3))
    resource = {"prefect.resource.id": f"millrace.topic.{topic}"}
    emit_event(names.DEAD_LETTERS_FOUND, resource=resource, payload={"v": 1, "why": why, "run_id": run_id()} | fields)
    return [Found(kind="dead letter", where=topic, count=by_reason.total(), detail=why)]
