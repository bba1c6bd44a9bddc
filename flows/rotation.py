"""Takes up rotated secrets, and tells of those that want a new value."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from tasks.tell import tell_failure, tell_recovery
from tasks.upkeep.check_secrets import check_secrets
from tasks.upkeep.refresh_slack import refresh_slack


@flow(
    flow_run_name="rotation",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure],
    on_completion=[tell_recovery],
)
def rotation() -> int:
    """Hand Prefect the Slack URL that Secret Manager has now, and look at the age of every secret.

    All other secrets are read on use, so that they need nothing. Returns how many secrets are old, about to expire or
    unusable; each is told by an event.
    """
    refresh_slack()
    return check_secrets()
