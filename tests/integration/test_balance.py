"""Every term of the balance is measured by itself: falsify one, and nothing is committed and an incident is told."""

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
    """A stream with rows of every kind pending: merged, superseded, stale and quarantined."""
    made = InProcess(contract())
    made.land(rows=[upsert(1, 20)])
    made.merge()
    made.land(
        made.put(parquet([upsert(1, 10), upsert(2, 11), upsert(2, 12), upsert(None, 13), delete(3, 14)])),
        made.put(b"no parquet", part=1),
    )
    return made


def staged(change: Callable[[Staged], dict[str, Any]]) -> Any:
    """The staging step with one of its terms falsified."""
    original = in_process.stage

    def falsified(*given: Any) -> Staged:
        made = original(*given)
        return made.model_copy(update=change(made))

    return mock.patch.object(in_process, "stage", falsified)


def counted(function: str) -> Any:
    """A count of the warehouse that is one too high."""
    original = getattr(sql, function)
    return mock.patch.object(sql, function, lambda *given, **more: f"SELECT 1 + ({original(*given, **more)})")


FALSE: dict[str, Callable[[], Any]] = {
    "rows in": lambda: staged(lambda s: {"rows_in": s.rows_in + 1}),
    "superseded": lambda: staged(lambda s: {"superseded": s.superseded + 1}),
    "quarantined": lambda: staged(lambda s: {"quarantined": s.quarantined[:-1]}),
    "a winner is not written": lambda: staged(lambda s: {"upserts": ()}),
    "a delete is not written": lambda: staged(lambda s: {"deletes": ()}),
    "a file is loaded twice": lambda: staged(lambda s: {"upserts": s.upserts * 2}),
    "stale": lambda: counted("count_stale"),
    "merged": lambda: counted("count_merged"),
}


def test_a_true_balance_accounts_for_every_row(merging: InProcess) -> None:
    assert merging.merge() == [Balance(rows_in=6, merged=2, superseded=1, stale=1, quarantined=2)]


@pytest.mark.parametrize("term", FALSE)
def test_a_falsified_term_is_an_incident_and_nothing_is_committed(
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
