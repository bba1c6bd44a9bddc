"""Lists dead letters, publishes them again, or drops them."""

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from millrace.domain.dead_letters import Action, Sorted
from millrace.events.reasons import why_refused
from millrace.events.sort import sort
from tasks.context import open_dead_letters
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="{action} dead letters",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def sort_dead_letters(action: Action, topic: str | None, ids: list[str] | None, reason: str, dry_run: bool) -> int:
    """Do one thing with the dead letters of a topic (else of all), or with those of these ids; returns how many.

    Raises:
        EventRefused: no such topic or letter, or nothing says why to drop.
    """
    done = sort(
        open_dead_letters(),
        action,
        why_refused,
        topics=[topic] if topic else [],
        ids=ids or [],
        reason=reason,
        dry_run=dry_run,
    )
    create_table_artifact([row(one) for one in done], key="dead-letters", description=f"Dead letters: {action}")
    return len(done)


def row(one: Sorted) -> dict[str, str]:
    """One line of the artifact's table."""
    return {name: str(value) for name, value in dict(one).items()}
