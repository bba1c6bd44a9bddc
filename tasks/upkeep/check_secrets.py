"""Checks the age and state of every secret that the platform uses, never its value."""

import logging
from typing import Any

from prefect.artifacts import create_table_artifact

from millrace.domain import names
from millrace.observability.events import log_event
from millrace.settings import load_settings
from tasks.emit import emit
from tasks.retries import uncached_task

log = logging.getLogger(__name__)


@uncached_task(task_run_name="check secrets", retries=3)
def check_secrets() -> int:
    """Emit an event for each secret that should be rotated or is unusable; returns their number.

    A secret should be rotated when it is older than `secrets.max_age_days`, or expires soon.
    """
    from blocks import MillraceCredentials  # imports Google's integration, which most runs do not need
    from blocks import names as block_names
    from blocks.load import load_block
    from tasks.upkeep.secret_states import secret_states

    states = secret_states(load_settings(), load_block(MillraceCredentials, block_names.CREDENTIALS))
    due = [state for state in states if state.due]
    for state in due:
        fields: dict[str, Any] = {"v": 1, "secret": state.secret, "used_by": state.used_by, "why": state.due}
        emit(names.SECRET_AGING, names.secret_resource(state.secret), fields)
        log_event(log, logging.WARNING, names.SECRET_AGING, **fields)
    rows = [
        {
            "secret": state.secret,
            "used by": state.used_by,
            "reason to rotate": state.due,
            "newest version": f"{state.newest:%Y-%m-%d %H:%M}" if state.newest else "",
        }
        for state in states
    ]
    create_table_artifact(rows, key="secrets", description=f"{len(due)} of {len(states)} secrets should be rotated")
    return len(due)
