"""What a model run has left to do, as pure functions of the ledger: merges to publish, marts to announce."""

from datetime import UTC, datetime, timedelta

import pytest

from millrace.domain.ledger import LedgerEntry
from millrace.domain.model import ModelWork, Publication, unannounced, unpublished

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


def announced(what: str) -> LedgerEntry:
    return LedgerEntry(kind="announced", batch_id=what, source="", stream="", run_id="r", at=NOON, detail="message 1")


def batches(*ledger: LedgerEntry, full: bool = False) -> tuple[str, ...]:
    """Batches that a model run takes."""
    work = unpublished(ledger, full=full)
    return work.batches if work else ()


@pytest.mark.parametrize("full", [False, True])
def test_without_a_merge_there_is_no_work(full: bool) -> None:
    assert unpublished([], full=full) is None
    assert unpublished([published("a", "c1"), announced("c1")], full=full) is None


def test_merges_that_no_publication_names_are_the_work_in_the_order_of_the_ledger() -> None:
    ledger = [merged("b", "orders", 2), merged("a", "items", 3), merged("c", "orders", 4), published("b", "c1")]
    assert unpublished(ledger) == ModelWork(batches=("a", "c"), streams=("shop.items", "shop.orders"), rows=7)


def test_a_merge_is_taken_by_its_batch_and_not_by_its_time() -> None:
    """A commit may become visible after the publication of another that bears a later instant."""
    early = merged("late to be seen", at=NOON - timedelta(hours=1))
    assert batches(merged("a"), published("a", "c1"), early) == ("late to be seen",)
    assert batches(early, merged("a"), published("a", "c1")) == ("late to be seen",)


def test_a_batch_is_published_whatever_run_said_so_and_however_often() -> None:
    assert batches(merged("a"), published("a", "c1", "r1"), published("a", "c1", "r2")) == ()


def test_an_announcement_publishes_nothing() -> None:
    assert batches(merged("a"), announced("a")) == ("a",)


def test_a_full_run_takes_all_merges() -> None:
    ledger = (merged("a"), published("a", "c1"), merged("b"))
    assert batches(*ledger, full=True) == ("a", "b")
    assert batches(*ledger) == ("b",)


def modelled(candidate: str, project: str) -> LedgerEntry:
    return LedgerEntry(kind="modelled", batch_id=candidate, source="", stream="", run_id="r", at=NOON, detail=project)


def whole(*ledger: LedgerEntry, project: str) -> bool:
    work = unpublished([merged("new"), *ledger], project=project)
    assert work is not None
    return work.whole


def test_all_is_built_when_nothing_was_or_from_another_state_of_the_project() -> None:
    assert whole(project="p2")
    assert whole(modelled("c1", "p1"), project="p2")
    assert whole(modelled("c1", "p2"), modelled("c2", "p1"), project="p2")
    assert not whole(modelled("c1", "p1"), modelled("c2", "p2"), project="p2")


def test_a_batch_that_changed_no_row_is_work_that_affects_no_stream() -> None:
    work = unpublished([merged("a", "orders", 0), merged("b", "items", 1)])
    assert work == ModelWork(batches=("a", "b"), streams=("shop.items",), rows=1)


def test_a_batch_that_only_buried_rows_affects_its_stream() -> None:
    buried = merged("a", "orders", 0).model_copy(update={"tombstoned_by_absence": 3})
    assert unpublished([buried]) == ModelWork(batches=("a",), streams=("shop.orders",))


def test_work_takes_in_what_was_merged_since_it_was_found() -> None:
    found, later = unpublished([merged("a", "orders")]), unpublished([merged("a", "orders"), merged("b", "items")])
    assert found is not None
    assert found.joined(later).batches == ("a", "b")
    assert found.joined(later).streams == ("shop.items", "shop.orders")
    assert found.joined(None) == found


def test_the_ledger_may_be_read_once_only() -> None:
    assert unpublished(iter([merged("a"), published("a", "c1"), merged("b")])) == unpublished([merged("b")])
    assert unannounced(iter([published("a", "c1"), announced("c1")])) is None


def test_what_was_never_published_is_not_announced() -> None:
    assert unannounced([]) is None
    assert unannounced([merged("a"), announced("a")]) is None


def test_the_newest_publication_is_announced_with_its_run_and_the_number_of_its_merges() -> None:
    ledger = [published("a", "c1"), published("b", "c2"), published("c", "c2")]
    assert unannounced(ledger) == Publication(candidate="c2", run_id="run of c2", batches=2)


def test_an_announced_publication_is_not_announced_again() -> None:
    assert unannounced([published("a", "c1"), announced("c1")]) is None
    assert unannounced([announced("c1"), published("a", "c1")]) is None


def test_an_older_publication_that_was_never_announced_is_of_no_interest_any_more() -> None:
    assert unannounced([published("a", "c1"), published("b", "c2"), announced("c2")]) is None


def test_the_announcement_of_an_older_publication_or_of_a_merge_does_not_count_for_the_newest() -> None:
    ledger = [published("a", "c1"), announced("c1"), merged("b"), announced("b"), published("b", "c2")]
    assert unannounced(ledger) == Publication(candidate="c2", run_id="run of c2", batches=1)


def test_a_publication_without_a_candidate_is_passed_over() -> None:
    assert unannounced([published("a", "")]) is None
    found = unannounced([published("a", "c1"), published("b", "")])
    assert found is not None
    assert found.candidate == "c1"
