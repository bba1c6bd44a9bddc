"""Erases keys for good: the request is kept in the lake, so that no replay, and no new warehouse, brings them back."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from millrace.contracts.erasure import Erasure, asked
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.errors import EventRefused
from millrace.lake.store import Lake, ObjectExists
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)


def request(
    lake: Lake, contract: StreamContract, keys: Iterable[Mapping[str, Any]], reason: str, at: datetime
) -> Erasure:
    """Ask for keys to be erased; from now on every merge of the stream does it. The same keys again: the same request.

    Raises:
        EventRefused: they are no keys of the stream, or there is no reason.
    """
    erasure = asked(contract, keys, reason, at)
    path = names.erasure_path(contract.source, contract.stream, erasure.id)
    try:
        lake.create(path, erasure.model_dump_json().encode())
    except ObjectExists:
        return Erasure.model_validate_json(lake.read(path))
    return erasure


def outstanding(lake: Lake, warehouse: Warehouse, contract: StreamContract) -> list[str]:
    """Paths of requests that this warehouse has not done: new ones, or all when the warehouse is new."""
    paths = [info.name for info in lake.list(names.erasures_prefix(contract.source, contract.stream))]
    done = {entry.batch_id for entry in warehouse.ledger(kinds=("erased",))} if paths else set()
    return [path for path in paths if path.rsplit("/", 1)[1].removesuffix(".json") not in done]


def erase(lake: Lake, warehouse: Warehouse, contract: StreamContract, at: datetime) -> int:
    """Do what is outstanding; returns how many keys had a row.

    Raises:
        EventRefused: keys of a request are not of the stream's key as it is now.
    """
    found = 0
    for path in outstanding(lake, warehouse, contract):
        erasure = Erasure.model_validate_json(lake.read(path))
        if any(len(key) != len(contract.key) for key in erasure.keys):
            raise EventRefused(
                f"{lake.url}/{path}: its keys are not of {contract.id}'s key, {', '.join(contract.key)}, changed"
                " since: ask for them by the new key, then delete it"
            )
        rows = warehouse.erase(contract, erasure, at=at)
        fields = {"stream": contract.id, "batch_id": erasure.id, "keys": len(erasure.keys), "rows": rows}
        log.info("keys.erased", extra={"event": "keys.erased", "fields": fields})
        found += rows
    return found
