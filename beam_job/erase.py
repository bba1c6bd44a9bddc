"""Requests to erase keys in; rows erased permanently, also from later merges and new warehouses, out."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from millrace.contracts.erasure import Erasure, make_erasure
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.errors import EventRefused, ObjectExists
from millrace.domain.ledger import CLOCKS_APART, LedgerEntry
from millrace.lake.store import Lake
from millrace.observability.events import log_event
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)


def request(
    lake: Lake, contract: StreamContract, keys: Iterable[Mapping[str, Any]], reason: str, at: datetime
) -> Erasure:
    """Store a request to erase keys, which every later merge of the stream obeys; the same keys give the same request.

    Raises:
        EventRefused: a key is not valid for the stream, or the reason is missing.
    """
    erasure = make_erasure(contract, keys, reason, at)
    path = names.erasure_path(contract.source, contract.stream, erasure.id)
    try:
        lake.create(path, erasure.model_dump_json().encode())
    except ObjectExists:
        return Erasure.model_validate_json(lake.read(path))
    return erasure


def outstanding(lake: Lake, warehouse: Warehouse, contract: StreamContract) -> list[str]:
    """Return the paths of requests that this warehouse has not executed: new ones, or all in a new warehouse."""
    listed = (info.name for info in lake.list(names.erasures_prefix(contract.source, contract.stream)))
    paths = [name for name in listed if name.endswith(".json")]
    erased = warehouse.erased(contract) if paths else set()
    return [path for path in paths if path.rsplit("/", 1)[1].removesuffix(".json") not in erased]


def fact(warehouse: Warehouse, erasure: Erasure) -> LedgerEntry:
    """Return the ledger's fact of an executed erasure."""
    facts = warehouse.ledger(erasure.requested_at - CLOCKS_APART, ("erased",))
    return next(entry for entry in facts if entry.batch_id == erasure.id)


def erase(lake: Lake, warehouse: Warehouse, contract: StreamContract, at: datetime) -> int:
    """Execute the outstanding requests and return how many keys had a row.

    Raises:
        EventRefused: the stream's key changed after a request.
    """
    erased = 0
    for path in outstanding(lake, warehouse, contract):
        erasure = Erasure.model_validate_json(lake.read(path))
        if any(len(key) != len(contract.key) for key in erasure.keys):
            raise EventRefused(
                f"{lake.url}/{path}: its keys do not have the columns {', '.join(contract.key)}, which are the key"
                f" of {contract.id} now: request the erasure by the new key, then delete this object"
            )
        rows = warehouse.erase(contract, erasure, at=at)
        keys = len(erasure.keys)
        log_event(log, logging.INFO, "keys.erased", stream=contract.id, batch_id=erasure.id, keys=keys, rows=rows)
        erased += rows
    return erased
