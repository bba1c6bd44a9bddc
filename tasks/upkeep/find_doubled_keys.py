"""Counts the keys of a merged table that have two rows: a correct merge leaves none."""

import logging

from millrace.domain import names
from millrace.observability.events import log_event
from tasks.context import open_warehouse, stream_contract
from tasks.emit import emit
from tasks.retries import uncached_task

log = logging.getLogger(__name__)


@uncached_task(task_run_name="check keys of {source}.{stream}", retries=2)
def find_doubled_keys(source: str, stream: str) -> list[str]:
    """Return the stream, and emit an event, when a key of it has two rows; reads the keys of the whole table.

    Raises:
        BudgetExceeded: the keys are more bytes than one query may read.
    """
    contract = stream_contract(source, stream)
    keys = open_warehouse().count_doubled_keys(contract)
    log_event(log, logging.INFO, "keys.audited", stream=contract.id, keys=keys)
    if not keys:
        return []
    sentence = f"{keys} keys of {contract.id} have two rows"
    log_event(log, logging.ERROR, names.KEYS_DOUBLED, sentence, stream=contract.id, keys=keys)
    payload = {"source": source, "stream": stream, "keys": keys}
    emit(names.KEYS_DOUBLED, names.stream_resource(source, stream), payload)
    return [contract.id]
