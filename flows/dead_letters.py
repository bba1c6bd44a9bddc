"""Lists, redrives or drops messages that could not be delivered."""

from millrace.domain.dead_letters import Action, Topic
from tasks.flow import millrace_flow
from tasks.upkeep.manage_dead_letters import manage_dead_letters


@millrace_flow(flow_run_name="dead letters: {action}")
def dead_letters(
    action: Action = "list",
    topic: Topic | None = None,
    ids: list[str] | None = None,
    reason: str = "",
    dry_run: bool = False,
) -> int:
    """List dead letters with the reason of each, publish them again, or drop them; returns their number.

    Args:
        action: `redrive` publishes on the original topic; `drop` deletes permanently and logs the content.
        topic: process this topic only.
        ids: process these messages only.
        reason: the reason for dropping them; required by `drop`.
        dry_run: report and change nothing.
    """
    return manage_dead_letters(action, topic, ids, reason, dry_run)
