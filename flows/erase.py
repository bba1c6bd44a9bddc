"""Erases keys of one stream for good, as a person has the right to ask."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from tasks.tell import tell_failure, tell_recovery
from tasks.upkeep.erase_keys import announce_erasure, erase_keys


@flow(
    flow_run_name="erase keys of {source}.{stream}",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure],
    on_completion=[tell_recovery],
)
def erase(source: str, stream: str, keys: list[dict[str, str]], reason: str) -> int:
    """Empty the rows of keys in the warehouse, now and for ever, and start the model; returns how many had a row.

    Whatever comes of these keys later, or is merged again, stays out. It can't be taken back. Files of the lake stay.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        stream: one of its streams.
        keys: each the columns of the key with their values, `[{"tailnum": "N1"}]`.
        reason: why; kept in the ledger.
    """
    erasure = erase_keys(source, stream, keys, reason)
    announce_erasure(erasure)
    return erasure.merged
