"""Erases keys of one stream permanently, as the right to erasure demands."""

from tasks.flow import millrace_flow
from tasks.upkeep.erase_keys import announce_erasure, erase_keys


@millrace_flow(flow_run_name="erase keys of {source}.{stream}")
def erase(source: str, stream: str, keys: list[dict[str, str]], reason: str) -> int:
    """Empty the rows of keys in the warehouse and start the model; returns the number of keys that had a row.

    Rows of these keys that arrive later, or are merged again, stay empty. This is permanent. The lake keeps its files.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        stream: one of its streams.
        keys: each the columns of the key with their values, `[{"id": 7}]`.
        reason: the reason for the erasure; the ledger keeps it.
    """
    erasure = erase_keys(source, stream, keys, reason)
    announce_erasure(erasure)
    return erasure.merged
