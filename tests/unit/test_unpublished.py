"""The open work of a model run, from the ledger alone: merges to publish, marts to announce."""

from datetime import UTC, datetime, timedelta

import pytest

from millrace.domain.ledger import LedgerEntry
from millrace.domain.model import ModelWork, Publication, unannounced_publication, unpublished_work

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def merged(batch: str, stream: str = "orders", rows: int = 1, at: datetime = NOON) -> LedgerEntry:
    return LedgerEntry(
        kind="merged", batch_id=batch, source="shop", stream=stream, run_id=f"merge of {batch}", at=at, merged=rows
    )


def published(batch: str, candidate: str, run: str = "") -> LedgerEntry:
    return LedgerEntry(
        kind="published",
        batch_id=batch,
        source="",
        stream="",
        run_id=run or f"run of {candidate}",
        at=NOON,
        detail=candidate,
    )


def announced(batch: str) -> LedgerEntry:
    return LedgerEntry(kind="announced", batch_id=batch, source="", stream="", run_id="r", at=NOON, detail="message 1")


def batches(*ledger: LedgerEntry, full: bool = False) -> tuple[str, ...]:
    """Batches that a model run takes."""
    work = unpublished_work(ledger, full=full)
    return work.batches if work else ()


@pytest.mark.parametrize("full", [False, True])
def test_without_a_merge_there_is_no_work(full: bool) -> None:
    assert unpublished_work([], full=full) is None
    assert unpublished_work([published("a", "c1"), announced("c1")], full=full) is None


def test_unpublished_merges_are_in_ledger_order() -> None:
    ledger = [merged("b", "orders", 2), merged("a", "items", 3), merged("c", "orders", 4), published("b", "c1")]
    assert unpublished_work(ledger) == ModelWork(batches=("a", "c"), streams=("shop.items", "shop.orders"), rows=7)


def test_merge_is_found_by_batch_and_not_by_time() -> None:
    """A commit may become visible after the publication of another with a later instant."""
    early = merged("late to be seen", at=NOON - timedelta(hours=1))
    assert batches(merged("a"), published("a", "c1"), early) == ("late to be seen",)
    assert batches(early, merged("a"), published("a", "c1")) == ("late to be seen",)


def test_batch_is_published_by_any_run() -> None:
    assert batches(merged("a"), published("a", "c1", "r1"), published("a", "c1", "r2")) == ()


def test_announcement_publishes_nothing() -> None:
    assert batches(merged("a"), announced("a")) == ("a",)


def test_full_run_takes_all_merges() -> None:
    ledger = (merged("a"), published("a", "c1"), merged("b"))
    assert batches(*ledger, full=True) == ("a", "b")
    assert batches(*ledger) == ("b",)


def modelled(candidate: str, project: str) -> LedgerEntry:
    return LedgerEntry(kind="modelled", batch_id=candidate, source="", stream="", run_id="r", at=NOON, detail=project)


def whole(*ledger: LedgerEntry, project: str) -> bool:
    work = unpublished_work([merged("new"), *ledger], project=project)
    assert work is not None
    return work.whole


def test_first_build_or_new_project_builds_all() -> None:
    assert whole(project="p2")
    assert whole(modelled("c1", "p1"), project="p2")
    assert whole(modelled("c1", "p2"), modelled("c2", "p1"), project="p2")
    assert not whole(modelled("c1", "p1"), modelled("c2", "p2"), project="p2")


def test_batch_without_changes_affects_no_stream() -> None:
    work = unpublished_work([merged("a", "orders", 0), merged("b", "items", 1)])
    assert work == ModelWork(batches=("a", "b"), streams=("shop.items",), rows=1)


def test_batch_of_deletes_affects_its_stream() -> None:
    buried = merged("a", "orders", 0).model_copy(update={"tombstoned_by_absence": 3})
    assert unpublished_work([buried]) == ModelWork(batches=("a",), streams=("shop.orders",))


def test_work_includes_later_merges() -> None:
    earlier, later = (
        unpublished_work([merged("a", "orders")]),
        unpublished_work([merged("a", "orders"), merged("b", "items")]),
    )
    assert earlier is not None
    assert earlier.combine(later).batches == ("a", "b")
    assert earlier.combine(later).streams == ("shop.items", "shop.orders")
    assert earlier.combine(None) == earlier


def test_ledger_may_be_a_one_pass_iterator() -> None:
    assert unpublished_work(iter([merged("a"), published("a", "c1"), merged("b")])) == unpublished_work([merged("b")])
    assert unannounced_publication(iter([published("a", "c1"), announced("c1")])) is None


def test_unpublished_work_is_not_announced() -> None:
    assert unannounced_publication([]) is None
    assert unannounced_publication([merged("a"), announced("a")]) is None


def test_newest_publication_is_announced() -> None:
    ledger = [published("a", "c1"), published("b", "c2"), published("c", "c2")]
    assert unannounced_publication(ledger) == Publication(candidate="c2", run_id="run of c2", batches=2)


def test_announced_publication_is_not_repeated() -> None:
    assert unannounced_publication([published("a", "c1"), announced("c1")]) is None
    assert unannounced_publication([announced("c1"), published("a", "c1")]) is None


def test_superseded_publication_is_not_announced() -> None:
    assert unannounced_publication([published("a", "c1"), published("b", "c2"), announced("c2")]) is None


def test_other_announcements_do_not_count() -> None:
    ledger = [published("a", "c1"), announced("c1"), merged("b"), announced("b"), published("b", "c2")]
    assert unannounced_publication(ledger) == Publication(candidate="c2", run_id="run of c2", batches=1)


def test_publication_without_candidate_is_skipped() -> None:
    assert unannounced_publication([published("a", "")]) is None
    publication = unannounced_publication([published("a", "c1"), published("b", "")])
    assert publication is not None
    assert publication.candidate == "c1"
