"""The work of a model run, from the merges that no marts include."""

from datetime import UTC, datetime

import pytest

from millrace.domain.ledger import LedgerEntry
from millrace.domain.model import ModelWork, model_work

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def merged(batch: str, stream: str = "orders", rows: int = 1) -> LedgerEntry:
    return LedgerEntry(
        kind="merged", batch_id=batch, source="shop", stream=stream, run_id=f"merge of {batch}", at=NOON, merged=rows
    )


def test_without_a_merge_there_is_no_work() -> None:
    assert model_work([]) is None
    assert model_work([], built_by="p1", project="p2") is None, "a changed project alone starts no build"


def test_work_has_batches_in_the_order_of_the_ledger() -> None:
    ledger = [merged("c", "orders", 3), merged("a", "items", 4)]
    assert model_work(ledger) == ModelWork(batches=("c", "a"), streams=("shop.items", "shop.orders"), rows=7)
    assert model_work(iter(ledger)) == model_work(ledger)


def test_full_run_takes_all_streams() -> None:
    ever = ["shop.items", "shop.orders"]
    assert model_work([], full=ever) == ModelWork(batches=(), streams=tuple(ever), whole=True, full=True)
    work = model_work([merged("a", "refunds", 2)], full=ever)
    assert work == ModelWork(batches=("a",), streams=(*ever, "shop.refunds"), rows=2, whole=True, full=True)


@pytest.mark.parametrize(
    ("built_by", "project", "whole"), [("", "p2", True), ("p1", "p2", True), ("p2", "p2", False), ("p1", "", False)]
)
def test_first_build_or_new_project_builds_all(built_by: str, project: str, whole: bool) -> None:
    work = model_work([merged("a")], built_by=built_by, project=project)
    assert work is not None
    assert (work.whole, work.full) == (whole, False)


def test_batch_without_changes_affects_no_stream() -> None:
    work = model_work([merged("a", "orders", 0), merged("b", "items", 1)])
    assert work == ModelWork(batches=("a", "b"), streams=("shop.items",), rows=1)


def test_batch_of_deletes_affects_its_stream() -> None:
    buried = merged("a", "orders", 0).model_copy(update={"tombstoned_by_absence": 3})
    assert model_work([buried]) == ModelWork(batches=("a",), streams=("shop.orders",))


def test_work_includes_later_merges() -> None:
    earlier, later = model_work([merged("a", "orders")]), model_work([merged("a", "orders"), merged("b", "items")])
    assert earlier is not None
    assert earlier.combine(later).batches == ("a", "b")
    assert earlier.combine(later).streams == ("shop.items", "shop.orders")
    assert earlier.combine(None) == earlier
