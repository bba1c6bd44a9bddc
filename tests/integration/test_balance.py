"""The terms of the balance are measured independently: one wrong term stops the commit and raises an incident."""

import logging
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from beam_job.batches import pending
from millrace.domain.batch import Balance, Staged
from millrace.domain.errors import BalanceError
from millrace.warehouse.duckdb import merge_sql as sql
from tests.support import in_process
from tests.support.in_process import InProcess
from tests.support.merging import contract, delete, parquet, upsert


@pytest.fixture
def merging() -> InProcess:
    """Return a stream with pending rows of every kind: merged, superseded, stale and quarantined."""
    helper = InProcess(contract())
    helper.land(rows=[upsert(1, 20)])
    helper.merge()
    helper.land(
        helper.put(parquet([upsert(1, 10), upsert(2, 11), upsert(2, 12), upsert(None, 13), delete(3, 14)])),
        helper.put(b"no parquet", part=1),
    )
    return helper


def patch_staging(change: Callable[[Staged], dict[str, Any]]) -> Any:
    """Patch the staging step so that one term of its result is wrong."""
    original = in_process.stage

    def falsified(*arguments: Any) -> Staged:
        result = original(*arguments)
        return result.model_copy(update=change(result))

    return mock.patch.object(in_process, "stage", falsified)


def patch_count(function: str) -> Any:
    """Patch a count of the warehouse so that it is one too high."""
    original = getattr(sql, function)
    return mock.patch.object(
        sql, function, lambda *arguments, **options: f"SELECT 1 + ({original(*arguments, **options)})"
    )


FALSE: dict[str, Callable[[], Any]] = {
    "rows in": lambda: patch_staging(lambda s: {"rows_in": s.rows_in + 1}),
    "superseded": lambda: patch_staging(lambda s: {"superseded": s.superseded + 1}),
    "quarantined": lambda: patch_staging(lambda s: {"quarantined": s.quarantined[:-1]}),
    "a winner is not written": lambda: patch_staging(lambda s: {"upserts": ()}),
    "a delete is not written": lambda: patch_staging(lambda s: {"deletes": ()}),
    "a file is loaded twice": lambda: patch_staging(lambda s: {"upserts": s.upserts * 2}),
    "stale": lambda: patch_count("count_stale"),
    "merged": lambda: patch_count("count_merged"),
}


def test_true_balance_accounts_for_every_row(merging: InProcess) -> None:
    assert merging.merge() == [Balance(rows_in=6, merged=2, superseded=1, stale=1, quarantined=2)]


@pytest.mark.parametrize("term", FALSE)
def test_wrong_term_is_an_incident_and_no_commit(
    merging: InProcess, term: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = merging.query("FROM raw_shop.orders ORDER BY id")
    with FALSE[term](), caplog.at_level(logging.ERROR), pytest.raises(BalanceError, match=r"6 rows in|7 rows in"):
        merging.merge()
    assert "merge.unbalanced" in [getattr(record, "event", "") for record in caplog.records]
    assert merging.query("FROM raw_shop.orders ORDER BY id") == before
    assert merging.query("SELECT epoch FROM ops.head__shop__orders") == [(1,)]
    assert len(pending(merging.lake, merging.warehouse, merging.contract)) == 1
    assert merging.merge()[0].rows_in == 6, "the batch is finished once the terms are true"
