"""A stream's lake and warehouse in; an AssertionError out if table, ledger or lake differ from the model."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from beam_job import batches
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from tests.support.oracle import Key, keeps_dead_rows, model

if TYPE_CHECKING:
    from tests.support.schedules import System

FILE = re.compile(r"sync_id=(\d+)/(\d+)\.")
LEDGER = "{ops}.ledger AS l WHERE l.at > '1900-01-01'"  # BigQuery reads it by days only
LIVE = "coalesce(_version IS NOT NULL AND (_delete_version IS NULL OR _delete_version < _version), false)"


def compare(system: "System") -> None:
    """Compare table, ledger and lake with the model."""
    compare_rows(system)
    rows = sum(o.rows or 0 for batch, _, _ in system.commits for o in batch.objects)
    merged = system.query(f"SELECT count(*), coalesce(sum(rows_in), 0) FROM {LEDGER} AND kind = 'merged'")
    assert merged == [(len(system.commits), rows)]
    assert system.query(f"SELECT epoch FROM {{ops}}.{names.head_table('shop', 'orders')}") == [(len(system.commits),)]
    merges = Counter(system.query("SELECT object, generation FROM {ops}.ledger_objects"))
    redrives = Counter(system.query("SELECT object, generation FROM {ops}.redrives"))
    assert all(count <= 1 + redrives[which] for which, count in merges.items()), "an object is merged twice"
    assert set(merges) == {(o.name, o.generation) for o in system.landed()}


def compare_rows(system: "System", left_behind: Sequence[str] = ("_batches/", "_staging/")) -> None:
    """Compare the table with the model; the merge left nothing in these folders of the lake, and nothing is pending."""
    assert table(system) == model(system.stream, system.syncs.values(), system.erased)
    assert [o.name for p in left_behind for o in system.lake.list(p)] == []
    assert batches.pending(system.lake, system.warehouse, system.stream.contract) == []


def table(system: "System") -> dict[Key, tuple[Any, ...]]:
    """Return the raw table in the model's form."""
    contract = system.stream.contract
    keys = list(contract.key) or ["_object", "_row"]
    extra = "extra" if "extra" in system.warehouse.evolved_columns(contract) else "NULL"
    bio = "bio" if "bio" in contract.columns else "NULL"
    shown = ", ".join([*keys, "note", "amount", extra, bio, LIVE, "_delete_version IS NOT NULL"])
    rows = system.query(f"SELECT {shown} FROM {{raw}}.orders")
    if not keeps_dead_rows(system.stream):
        rows = [(*row[:-1], False) for row in rows if row[-2]]
    registers = {key_of(contract, row[: len(keys)]): row[len(keys) :] for row in rows}
    assert len(registers) == len(rows), "a key has two rows"
    return registers


def key_of(contract: StreamContract, key: Key) -> Key:
    """Return a row's key; in a stream without one it is job, file and row."""
    return key if contract.key else (*place_of(str(key[0])), key[1])


def place_of(name: str) -> tuple[int, int]:
    """Return the job and the part of an object."""
    named = FILE.search(name)
    assert named, name
    return int(named[1]), int(named[2])
