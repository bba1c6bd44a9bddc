"""What is open in a ledger: the searches of both engines find it, however much of the past is settled."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from millrace.domain.ledger import EVER, LedgerEntry
from millrace.warehouse.port import Warehouse
from millrace.warehouse.settled import LATEST, settled_before
from tests.support.engines import Engine, OnEngine
from tests.support.ledgers import fact, newest_publication, random_ledger, without
from tests.support.merging import NOON, contract, upsert

ORDERS, ITEMS = contract(), contract(stream="items")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SEEDS = (1, 2, 3)


def finds(warehouse: Warehouse, ledger: list[LedgerEntry]) -> bool:
    """Whether every search gives what the definition says."""
    assert warehouse.unpublished() == without(ledger, "published")
    assert warehouse.unannounced() == without(ledger, "announced")
    assert warehouse.unannounced_publication() == newest_publication(ledger)
    assert warehouse.newest_model() == next((e for e in reversed(ledger) if e.kind == "modelled"), None)
    return True


def test_empty_warehouse_has_nothing_open(engine: Engine) -> None:
    warehouse = engine.warehouse
    assert finds(warehouse, [])
    assert (warehouse.changed_streams(), warehouse.newest_merges(EVER), warehouse.count_merges(ORDERS, EVER)) == (
        [],
        {},
        0,
    )
    assert warehouse.erased(ORDERS) == set()
    warehouse.settle(NOON)
    assert warehouse.ledger(EVER) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_searches_find_all_that_is_open(engine: Engine, seed: int) -> None:
    rng, warehouse = random.Random(seed), engine.warehouse
    ledger = random_ledger(rng, NOON, 60)
    whole, parts = [], [*ledger]
    while parts:
        taken, parts = parts[: (size := rng.randint(10, 80))], parts[size:]
        warehouse.append(*taken)
        whole += taken
        assert finds(warehouse, whole)
        warehouse.settle(settled_before(warehouse, taken[-1].at))
    assert finds(warehouse, ledger)
    warehouse.settle(EVER)
    assert finds(warehouse, ledger)
    assert warehouse.ledger(EVER) == ledger


def test_settled_past_is_not_searched(engine: Engine) -> None:
    warehouse = engine.warehouse
    old, new = fact("merged", "old", NOON - 30 * DAY, stream="orders"), fact("merged", "new", NOON, stream="orders")
    warehouse.append(old, new)
    assert settled_before(warehouse, NOON) == old.at
    warehouse.append(fact("published", "old", NOON, detail="c1"), fact("announced", "old", NOON))
    assert settled_before(warehouse, NOON) == NOON - LATEST
    warehouse.settle(NOON - LATEST)
    warehouse.append(fact("erased", "lost", NOON - 20 * DAY, stream="orders"))  # no process writes so late
    assert [e.batch_id for e in warehouse.unpublished()] == ["new"]
    warehouse.settle(EVER)
    assert [e.batch_id for e in warehouse.unpublished()] == ["new", "lost"]


def test_settling_keeps_what_searches_still_need(engine: Engine) -> None:
    warehouse = engine.warehouse
    model = fact("modelled", "c1", NOON - 90 * DAY, detail="p1")
    warehouse.append(fact("merged", "a", NOON - 90 * DAY, stream="orders"), fact("announced", "a", NOON - 90 * DAY))
    warehouse.append(fact("published", "a", model.at, detail="c1"), model)
    assert settled_before(warehouse, NOON) == model.at
    warehouse.settle(settled_before(warehouse, NOON))
    assert warehouse.newest_model() == model
    publication = warehouse.unannounced_publication()
    assert publication is not None
    assert (publication.candidate, publication.batches, publication.at) == ("c1", 1, model.at)
    warehouse.append(fact("announced", "c1", NOON, detail="m"))
    assert warehouse.unannounced_publication() is None


def test_publication_without_a_new_merge_is_announced(engine: Engine) -> None:
    warehouse = engine.warehouse
    warehouse.append(fact("published", "a", NOON, detail=""), fact("modelled", "c1", NOON, detail="p1", run="r1"))
    publication = warehouse.unannounced_publication()
    assert publication is not None
    assert (publication.candidate, publication.run_id, publication.batches) == ("c1", "r1", 0)


def test_only_the_newest_publication_is_announced(engine: Engine) -> None:
    warehouse = engine.warehouse
    warehouse.append(fact("published", "a", NOON, detail="c1"), fact("published", "b", NOON, detail="c2", run="r2"))
    publication = warehouse.unannounced_publication()
    assert publication is not None
    assert (publication.candidate, publication.run_id, publication.batches) == ("c2", "r2", 1)
    warehouse.append(fact("announced", "c2", NOON))
    assert warehouse.unannounced_publication() is None


def test_newest_merges_are_those_since_an_instant(engine: Engine) -> None:
    warehouse = engine.warehouse
    warehouse.append(
        fact("merged", "a", NOON, stream="orders"),
        fact("merged", "b", NOON - HOUR, stream="orders"),
        fact("merged", "c", NOON - DAY, stream="items"),
        fact("erased", "d", NOON + HOUR, stream="items"),
    )
    assert warehouse.newest_merges(EVER) == {"shop.orders": NOON, "shop.items": NOON - DAY}
    assert warehouse.newest_merges(NOON - HOUR) == {"shop.orders": NOON}
    assert [warehouse.count_merges(s, NOON - HOUR) for s in (ORDERS, ITEMS)] == [2, 0]
    assert [warehouse.count_merges(s, EVER) for s in (ORDERS, ITEMS)] == [2, 1]
    assert warehouse.changed_streams() == ["shop.items", "shop.orders"]


def test_many_facts_are_appended_in_order_once(engine: Engine) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    facts = [fact("published", f"b{number}", at, detail="c1") for number in range(7_000)]
    for _ in range(2):
        engine.warehouse.append(*facts, facts[0])
    assert engine.warehouse.ledger(at) == facts


def test_balance_is_found_from_the_batchs_opening_on(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10)])
    batch = merging.opened()
    assert merging.warehouse.balance(batch) is None
    balance = merging.commit(batch)
    assert merging.warehouse.balance(batch) == balance
    later = batch.model_copy(update={"opened_at": batch.opened_at + 3 * DAY})
    assert merging.warehouse.balance(later) is None
