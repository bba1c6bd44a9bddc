"""Counts keys that stand in two rows of a merged table: there is none while the merge is right."""

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from millrace.domain import names
from tasks.context import open_warehouse, run_id, stream_contract
from tasks.retries import DELAYS_S, is_transient

log = logging.getLogger(__name__)


@task(
    task_run_name="audit keys of {source}.{stream}",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def audit_keys(source: str, stream: str) -> list[str]:
    """Name the stream when a key of it stands in two rows, and tell it by an event; reads the keys of the whole table.

    Raises:
        BudgetExceeded: the keys are more bytes than one query may read.
    """
    contract = stream_contract(source, stream)
    keys = open_warehouse().audit(contract)
    fields = {"stream": contract.id, "keys": keys}
    log.info("keys.audited", extra={"event": "keys.audited", "fields": fields})
    if not keys:
        return []
    log.error(
        "%s: %d keys of %s stand in two rows",
        names.KEYS_DOUBLED,
        keys,
        contract.id,
        extra={"event": names.KEYS_DOUBLED, "fields": fields},
    )
    payload = {"v": 1, "source": source, "stream": stream, "keys": keys, "run_id": run_id()}
    emit_event(
        names.KEYS_DOUBLED, resource={"prefect.resource.id": names.stream_resource(source, stream)}, payload=payload
    )
    return [contract.id]
