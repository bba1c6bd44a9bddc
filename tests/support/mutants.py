"""The merge with one of its protections disabled: the oracle must catch each mutant."""

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

from beam_job.steps.keys import Origin
from millrace.warehouse.duckdb import merge_sql as merging
from millrace.warehouse.duckdb import sql as sql


def _text(function: str, *swaps: tuple[str, str]) -> Any:
    """Replace parts of the text that a function of SQL returns."""
    module = sql if hasattr(sql, function) else merging
    original: Callable[..., str] = getattr(module, function)

    @wraps(original)
    def mutated(*arguments: Any) -> str:
        text = original(*arguments)
        for old, new in swaps:
            assert old in text, f"{function} has no {old!r}"
            text = text.replace(old, new)
        return text

    return mock.patch.object(module, function, mutated)


def guard() -> list[Any]:
    """The last row to arrive wins, whatever its version."""
    return [mock.patch.object(merging, "is_newer", return_value="true")]


def newest() -> list[Any]:
    """The table's maximum version is not kept: every batch counts as newer."""
    return [_text("set_newest", ("SET newest = ?", "SET newest = coalesce(''::BLOB, ?)"))]


def joined() -> list[Any]:
    """Upserts replace the table's rows of their keys unconditionally."""
    return [mock.patch.object(merging, "count_joined", return_value="SELECT 0")]


def tie_break() -> list[Any]:
    """Rows of equal cursors have no order across files."""
    return [mock.patch.object(Origin, "tail", property(lambda origin: bytes(24)))]


def delete_register() -> list[Any]:
    """A delete is an upsert of an empty row: one register."""
    kinds = mock.patch("beam_job.steps.read.row_kinds", lambda table, contract: np.zeros(table.num_rows, np.int8))
    return [kinds]


def head_check() -> list[Any]:
    """The head moves whatever its position is."""
    return [_text("advance_head", ("WHERE epoch = ?", "WHERE epoch = ? OR true"))]


def ledger_check() -> list[Any]:
    """A commit does not check whether its objects are merged already."""
    return [mock.patch("millrace.warehouse.duckdb.commit._check_unmerged", return_value=None)]


def pending_check() -> list[Any]:
    """Pending objects are computed from the lake alone."""
    return [mock.patch("millrace.warehouse.duckdb.commit.merged_objects", return_value=set())]


def absence() -> list[Any]:
    """Keys that are absent from a snapshot stay alive."""
    return [_text("delete_absent", ("WHERE", "WHERE false AND"))]


def min_version() -> list[Any]:
    """Late rows of a replaced generation are merged."""
    return [mock.patch.object(merging, "not_replaced", return_value="true")]


def null_order() -> list[Any]:
    """A NULL cursor is a zero."""
    from beam_job.steps import keys

    original = keys._fixed

    def mutated(column: pa.Array) -> Any:
        return original(column.fill_null(pa.scalar(0).cast(pa.int64()).cast(column.type)))

    return [mock.patch.object(keys, "_fixed", mutated)]


MUTANTS: dict[str, tuple[Callable[[], list[Any]], str]] = {
    "guard": (guard, "changes by id"),
    "newest version": (newest, "changes by id"),
    "join with the table": (joined, "changes by id"),
    "tie-break": (tie_break, "cursor that may be null"),
    "delete register": (delete_register, "changes by id"),
    "head check": (head_check, "changes by id"),
    "ledger check": (ledger_check, "no key"),
    "pending check": (pending_check, "changes by id"),
    "absence in a snapshot": (absence, "snapshots"),
    "floor of a snapshot": (min_version, "snapshots"),
    "order of NULL": (null_order, "decimal key, float cursor"),
}


@contextmanager
def mutated(name: str) -> Any:
    """Return the merge with that protection disabled."""
    with ExitStack() as stack:
        for patch in MUTANTS[name][0]():
            stack.enter_context(patch)
        yield
