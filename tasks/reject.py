"""The parameters of a run in; its final state out when one of them is mistyped, so that nothing is started."""

import logging
from collections.abc import Mapping
from typing import Any

from prefect import State
from prefect.context import FlowRunContext
from prefect.states import Failed

from millrace.contracts.parameters import check_parameters, names_contracts
from millrace.contracts.source import load_sources
from millrace.domain.alerts import REJECTED
from millrace.domain.errors import EventRefused, UnknownStream
from millrace.observability.events import log_event
from millrace.project import current_project

log = logging.getLogger(__name__)
AUTOMATION = "AUTOMATION"

Rejection = State[Any]


def reject_mistyped(parameters: Mapping[str, Any]) -> Rejection | None:
    """Return the failed state `Rejected` when a person mistyped a parameter, which alerts nobody; else None.

    The run of an event fails with an alert instead: nobody watches it, and its sender has to be corrected.

    Raises:
        ContractError: a file in `sources/` is invalid.
    """
    if not names_contracts(parameters) or _is_of_an_event():
        return None
    try:
        check_parameters(load_sources(current_project().sources), parameters)
    except (UnknownStream, EventRefused) as error:
        log_event(log, logging.WARNING, "run.rejected", why=str(error))
        return Failed(name=REJECTED, message=f"{type(error).__name__}: {error}", data=error)
    return None


def _is_of_an_event() -> bool:
    context = FlowRunContext.get()
    creator = context.flow_run.created_by if context and context.flow_run else None
    return bool(creator and creator.type == AUTOMATION)
