"""Lists, redrives or drops dead letters: an action in, a table of outcomes out."""

from prefect.artifacts import create_table_artifact

from millrace.domain.dead_letters import Action, DeadLetterOutcome
from millrace.events.reasons import rejection_reason
from millrace.events.sort import settle_letters
from tasks.context import open_dead_letters
from tasks.retries import uncached_task


@uncached_task(task_run_name="{action} dead letters", retries=2)
def manage_dead_letters(action: Action, topic: str | None, ids: list[str] | None, reason: str, dry_run: bool) -> int:
    """Apply an action to the dead letters of one topic or all, or to those with these ids; returns their number.

    Raises:
        EventRefused: the topic or a message does not exist, or `drop` has no reason.
    """
    outcomes = settle_letters(
        open_dead_letters(),
        action,
        rejection_reason,
        topics=[topic] if topic else [],
        ids=ids or [],
        reason=reason,
        dry_run=dry_run,
    )
    create_table_artifact(
        [row(outcome) for outcome in outcomes], key="dead-letters", description=f"Dead letters: {action}"
    )
    return len(outcomes)


def row(outcome: DeadLetterOutcome) -> dict[str, str]:
    """Return an outcome as a row of the artifact's table."""
    return {name: str(value) for name, value in dict(outcome).items()}
