"""The merge with one of its protections disabled: the oracle must catch each mutant."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest import mock

import numpy as np
import pytest

from beam_job import attempts
from beam_job.reports import Reports
from millrace.warehouse.duckdb import merge_sql as merging
from millrace.warehouse.duckdb import sql as sql
from tests.support import order_mutants as order
from tests.support.in_process import MemoryWarehouse
from tests.support.order_mutants import Patches

COMMIT, REPLACE = "millrace.warehouse.duckdb.commit", "millrace.warehouse.duckdb.replace"


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


def _answer(name: str, answer: Any) -> Patches:
    """Let a function return the same for all arguments."""
    return [mock.patch(name, return_value=answer)]


def guard() -> Patches:
    """The last row to arrive wins, whatever its version."""
    return [mock.patch.object(merging, "is_newer", return_value="true")]


def guard_of_deletes() -> Patches:
    """The last delete to arrive wins, whatever its version."""
    return [_text("match_deletes", ("coalesce(t._delete_version < d._delete_version, true)", "true"))]


def newest() -> Patches:
    """The table's maximum version is not kept: every batch counts as newer."""
    return [_text("set_newest", ("SET newest = ?", "SET newest = coalesce(''::BLOB, ?)"))]


def joined() -> Patches:
    """Upserts replace the table's rows of their keys unconditionally."""
    return [mock.patch.object(merging, "count_joined", return_value="SELECT 0")]


def delete_register() -> Patches:
    """A delete is an upsert of an empty row: one register."""
    kinds = mock.patch("beam_job.steps.read.row_kinds", lambda table, contract: np.zeros(table.num_rows, np.int8))
    return [kinds]


def unchanged() -> Patches:
    """The text that stands for an unchanged value is a value."""
    return _answer("beam_job.steps.write.unchanged_columns", set())


def late_values() -> Patches:
    """A late older row gives no value to a newer row that lacks it."""
    return _answer("millrace.warehouse.duckdb.unchanged._entered", [])


def head_check() -> Patches:
    """The head moves whatever its position is."""
    return [_text("advance_head", ("WHERE epoch = ?", "WHERE epoch = ? OR true"))]


def ledger_check() -> Patches:
    """A commit does not check whether its objects are merged already."""
    return _answer(f"{COMMIT}._check_unmerged", None)


def balance_check() -> Patches:
    """A commit does not look for an earlier commit of its batch."""
    return _answer(f"{COMMIT}.balance", None)


def pending_check() -> Patches:
    """Pending objects are computed from the lake alone."""
    return _answer(f"{COMMIT}.merged_objects", set())


class _Autocommit:
    """A connection without transactions."""

    def __init__(self, db: Any) -> None:
        self._db = db

    def execute(self, statement: str, *arguments: Any) -> Any:
        skipped = statement in ("BEGIN", "COMMIT", "ROLLBACK")
        return self._db.execute("SELECT 0" if skipped else statement, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def transaction() -> Patches:
    """A commit is not one transaction."""

    @contextmanager
    def writing(self: MemoryWarehouse, purpose: str) -> Iterator[Any]:
        with self.connection() as db:
            yield _Autocommit(db)

    return [mock.patch.object(MemoryWarehouse, "_writing", writing)]


def absence() -> Patches:
    """Keys that are absent from a snapshot stay alive."""
    return [_text("delete_absent", ("WHERE", "WHERE false AND"))]


def floor() -> Patches:
    """Late rows of a replaced generation are merged."""
    return [mock.patch.object(merging, "not_replaced", return_value="true")]


def blocked() -> Patches:
    """A snapshot with an unreadable file or key replaces the table."""
    return _answer("beam_job.attempts.find_blocked", {})


def incomplete() -> Patches:
    """A snapshot whose sync failed counts like any other."""
    return _answer("beam_job.steps.read.reject_known", None)


def kept() -> Patches:
    """The keys of a snapshot's refused rows are forgotten."""
    return [mock.patch.object(Reports, "kept_files", return_value=[])]


def spared() -> Patches:
    """Keys that a snapshot has in quarantine get no values from older ones that come later."""
    return _answer(f"{REPLACE}._spare", False)


def rows_in() -> Patches:
    """The rows of a batch are counted from the reports of its shards, not from the manifests."""
    original = attempts.collect

    def mutated(contract: Any, evolved: Any, reports: Reports) -> Any:
        rows = sum(shard["rows"] for shard in reports.shard.values())
        return original(contract, evolved, reports).model_copy(update={"rows_in": rows})

    return [mock.patch.object(attempts, "collect", mutated)]


def row_count() -> Patches:
    """A file may have fewer rows than its manifest says."""
    return _answer("beam_job.steps.read.reject_wrong_count", None)


def superseded() -> Patches:
    """Rows that lost within the batch are not counted."""
    return _answer("beam_job.attempts._superseded", 0)


def erasures() -> Patches:
    """Requested erasures are not executed before a merge."""
    return _answer("beam_job.batches.erase", 0)


def erased_version() -> Patches:
    """The row of an erased key has no version above all others."""
    return [mock.patch("millrace.warehouse.duckdb.erase.LAST_VERSION", "00" * 32)]


def redriven_rows() -> Patches:
    """A redriven object without a key is appended whole, with the rows that it had before."""
    append, count_stale = merging.append, merging.count_stale
    return [
        mock.patch.object(merging, "append", lambda contract, batch_id, again: append(contract, batch_id, False)),
        mock.patch.object(merging, "count_stale", lambda contract, again: count_stale(contract, False)),
    ]


def mended_rows() -> Patches:
    """The rows of a rewritten object without a key stay beside its new ones."""
    return _answer(f"{REPLACE}._mend", False)


def replaced_objects() -> Patches:
    """An object that is gone breaks its manifest, even if another manifest names a newer generation of it."""
    return [mock.patch.object(Reports, "_replaced", {})]


def shared_folder() -> Patches:
    """All attempts to stage a batch write to one folder."""
    defaults = attempts.stage.__defaults__ or ()
    return [mock.patch.object(attempts.stage, "__defaults__", (*defaults[:-1], lambda: "shared"))]


def lost_reports() -> Patches:
    """An attempt is committed without all of its reports and files."""
    return _answer("beam_job.reports._require_all", None)


# Each mutant with the stream whose first schedules catch it.
MUTANTS: dict[str, tuple[Callable[[], Patches], str]] = {
    "guard": (guard, "changes by id"),
    "guard of deletes": (guard_of_deletes, "changes by id"),
    "newest version": (newest, "changes by id"),
    "join with the table": (joined, "changes by id"),
    "tie-break": (order.tie_break, "cursor that may be null"),
    "epoch": (order.epoch, "changes by id"),
    "generation": (order.generation, "changes by id"),
    "generation of a mended object": (order.mended_generation, "decimal key, float cursor"),
    "unchanged values": (unchanged, "unchanged values"),
    "late values": (late_values, "unchanged values"),
    "delete register": (delete_register, "changes by id"),
    "head check": (head_check, "changes by id"),
    "ledger check": (ledger_check, "no key"),
    "check for an earlier commit": (balance_check, "changes by id"),
    "pending check": (pending_check, "changes by id"),
    "transaction": (transaction, "changes by id"),
    "absence in a snapshot": (absence, "snapshots"),
    "floor of a snapshot": (floor, "snapshots"),
    "block by an unreadable file": (blocked, "snapshots"),
    "refusal of incomplete snapshots": (incomplete, "snapshots"),
    "keys of refused rows": (kept, "snapshots"),
    "spared keys": (spared, "snapshots"),
    "order of NULL": (order.null_order, "decimal key, float cursor"),
    "order of NaN": (order.nan_order, "decimal key, float cursor"),
    "equal zeros": (order.zero_order, "decimal key, float cursor"),
    "end of text": (order.text_order, "changes by two keys and two log columns"),
    "comparison of keys of one hash": (order.collisions, "changes by id"),
    "counts of manifests": (rows_in, "changes by id"),
    "count of a file's rows": (row_count, "changes by id"),
    "count of superseded rows": (superseded, "changes by id"),
    "repeated erasures": (erasures, "changes by id"),
    "version of erased keys": (erased_version, "changes by id"),
    "comparison of redriven rows": (redriven_rows, "no key"),
    "removal of a mended object's rows": (mended_rows, "no key"),
    "newer generations of objects": (replaced_objects, "no key"),
}
# Those that only workers at the same time can reveal.
RACING_MUTANTS: dict[str, tuple[Callable[[], Patches], str]] = {
    "folder of each attempt": (shared_folder, "refreshes"),
    "required reports": (lost_reports, "changes by id"),
}

# Those that take many schedules or races, or long ones.
SLOW = {
    "block by an unreadable file",
    "check for an earlier commit",
    "comparison of redriven rows",
    "end of text",
    "epoch",
    "equal zeros",
    "floor of a snapshot",
    "folder of each attempt",
    "generation",
    "generation of a mended object",
    "head check",
    "keys of refused rows",
    "late values",
    "order of NaN",
    "refusal of incomplete snapshots",
    "repeated erasures",
    "required reports",
    "spared keys",
    "transaction",
    "version of erased keys",
}


def named(mutants: Iterable[str]) -> list[Any]:
    """Return the names of mutants as parameters of a test, of which the slow ones are marked."""
    return [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in mutants]


@contextmanager
def mutated(name: str) -> Any:
    """Return the merge with that protection disabled."""
    with ExitStack() as stack:
        for patch in (MUTANTS | RACING_MUTANTS)[name][0]():
            stack.enter_context(patch)
        yield
