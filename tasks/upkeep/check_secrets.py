"""Looks at the age and state of every secret that the platform uses, never at its value."""

import logging

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from millrace.domain import names
from millrace.settings import load_settings
from tasks.retries import DELAYS_S, is_transient

log = logging.getLogger(__name__)


@task(
    task_run_name="check secrets",
    retries=3,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def check_secrets() -> int:
    """Tell of each secret that is older than `secrets.max_age_days`, expires soon, or can't be read; how many."""
    from blocks import MillraceCredentials  # imports Google's integration, which most runs do not need
    from blocks import names as block_names
    from blocks.load import registered
    from tasks.upkeep.secret_states import secret_states

    states = secret_states(load_settings(), registered(MillraceCredentials, block_names.CREDENTIALS))
    due = [state for state in states if state.due]
    for state in due:
        fields = {"v": 1, "secret": state.secret, "used_by": state.used_by, "why": state.due}
        resource = {"prefect.resource.id": names.secret_resource(state.secret)}
        emit_event(names.SECRET_AGING, resource=resource, payload=fields)
        log.warning("secret.aging", extra={"event": names.SECRET_AGING, "fields": fields})
    rows = [
        {
            "secret": state.secret,
            "used by": state.used_by,
            "wants a new value": state.due,
            "newest version": f"{state.newest:%Y-%m-%d %H:%M}" if state.newest else "",
        }
        for state in states
    ]
    create_table_artifact(rows, key="secrets", description=f"{len(due)} of {len(states)} secrets want a new value")
    return len(due)
