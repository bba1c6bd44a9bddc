"""Deals with messages that could not be delivered."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from millrace.domain.dead_letters import Action, Topic
from tasks.tell import tell_failure, tell_recovery
from tasks.upkeep.sort_dead_letters import sort_dead_letters


@flow(
    flow_run_name="dead letters: {action}",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure],
    on_completion=[tell_recovery],
)
def dead_letters(
    action: Action = "list",
    topic: Topic | None = None,
    ids: list[str] | None = None,
    reason: str = "",
    dry_run: bool = False,
) -> int:
    """List dead letters with the reason of each, publish them again, or drop them; returns how many.

    Args:
        action: `redrive` publishes on the topic they came from; `drop` forgets them for good, and logs what they said.
        topic: look at this topic only.
        ids: do it with these only.
        reason: why they are dropped; needed for that.
        dry_run: report, and do nothing.
    """
    return sort_dead_letters(action, topic, ids, reason, dry_run)
