"""Model runs of a project in two independent parts: a refused one keeps its marts, and the other is published."""

from pathlib import Path
from unittest import mock

import pytest

from bench.model_run import ModelRun
from millrace.domain.errors import QualityFailed
from millrace.domain.ledger import EVER, built_state
from tests.support.modelling import Modelling, Poller
from tests.support.two_parts import MODELS, two_parts, write_project

pytestmark = pytest.mark.slow
SALES = "SELECT id, amount FROM marts.sales ORDER BY id"
SHOWN = """SELECT (SELECT count(*) FROM marts.sales), (SELECT CAST(sum(total) AS BIGINT) FROM marts.sales_total),
  (SELECT count(*) FROM marts.traffic)"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Modelling:
    """Two orders and a visit, published."""
    write_project(tmp_path)
    monkeypatch.setenv("MILLRACE_PROJECT", str(tmp_path))
    shop = two_parts(tmp_path)
    shop.merge("orders", {"id": 1, "amount": 5}, {"id": 2, "amount": 6})
    shop.merge("visits", {"id": 1, "page": "a"})
    run = ran(shop)
    assert set(run.marts) == set(MODELS)
    return shop


def ran(shop: Modelling, project: str = "p1") -> ModelRun:
    run = shop.run(project=project)
    assert run is not None
    return run


def refused(run: ModelRun) -> list[str]:
    return [each.part.name for each in run.refused]


def published(shop: Modelling) -> list[str]:
    return [entry.batch_id for entry in shop.warehouse.ledger(EVER, ["published"])]


def test_refused_part_waits_and_the_other_goes_on(shop: Modelling) -> None:
    poller = Poller(shop.marts_file, SHOWN)
    poller.start()
    bad, good = shop.merge("orders", {"id": 3, "amount": -7}), shop.merge("visits", {"id": 2, "page": "b"})
    run = ran(shop)
    assert (refused(run), run.marts) == (["shop.orders"], ("traffic",))
    assert "sales.amount" in run.refused[0].reason
    assert good in published(shop)
    assert bad not in published(shop)
    with pytest.raises(QualityFailed, match=r"stay as they were: sales, sales_total"):
        shop.run(project="p1")
    shop.merge("orders", {"id": 3, "amount": 7})
    run = ran(shop)
    assert (refused(run), set(run.marts)) == ([], {"sales", "sales_total"})
    assert published(shop).count(good) == published(shop).count(bad) == 1
    assert poller.end() == [[(2, 11, 1)], [(2, 11, 2)], [(3, 18, 2)]]
    assert shop.run(project="p1") is None


def test_broken_rows_of_a_part_are_not_built(shop: Modelling) -> None:
    shop.merge("orders", {"id": 3, "amount": -700})
    shop.merge("visits", {"id": 2, "page": "b"})
    run = ran(shop)
    assert (refused(run), run.marts) == (["shop.orders"], ("traffic",))
    assert run.refused[0].reason.startswith("shop.orders.amount: expect_column_values_to_be_between")
    assert shop.marts(SHOWN) == [(2, 11, 2)]


def test_model_that_dbt_rejects_stops_its_part_only(shop: Modelling) -> None:
    sales = shop.folder / "dbt_project" / "models" / "marts" / "sales.sql"
    sales.write_text(MODELS["sales"].replace("'1' as int", "'x' as int"))
    shop.merge("visits", {"id": 2, "page": "b"})
    run = ran(shop, "p2")
    assert refused(run) == ["shop.orders"]
    assert ("sales: " in run.refused[0].reason, run.refused[0].by_gate) == (True, False)
    assert shop.marts(SHOWN) == [(2, 11, 2)]
    newest = shop.warehouse.newest_model()
    assert newest
    assert built_state(newest.detail) == ("p2", ("shop.orders",))
    sales.write_text(MODELS["sales"])
    assert set(ran(shop, "p2").marts) == {"sales", "sales_total"}, "it was owed its rebuild, and nothing else is built"
    assert shop.run(project="p2") is None


def test_gone_mart_stays_until_no_part_is_refused(shop: Modelling) -> None:
    (shop.folder / "dbt_project" / "models" / "marts" / "sales_total.sql").unlink()
    bad = shop.merge("orders", {"id": 3, "amount": -7})
    assert refused(ran(shop, "p2")) == ["shop.orders"]
    assert bad not in published(shop)
    assert shop.marts("SELECT total FROM marts.sales_total") == [(11,)]
    shop.merge("orders", {"id": 3, "amount": 7})
    shop.merge("visits", {"id": 2, "page": "b"})
    run = ran(shop, "p2")
    assert set(run.marts) == {"sales", "traffic"}
    assert set(shop.warehouse.marts()) == {"sales", "traffic", "calendar"}


@pytest.mark.parametrize("point", ["restore", "publish", "append"])
def test_partial_publication_outlives_a_death(shop: Modelling, point: str) -> None:
    """Die after the candidate got its old marts back, after the switch, and before the ledger has it."""
    bad, good = shop.merge("orders", {"id": 3, "amount": -7}), shop.merge("visits", {"id": 2, "page": "b"})
    real = getattr(shop.warehouse, point)

    def die(*arguments: object, **options: object) -> None:
        if point != "append":
            real(*arguments, **options)
        raise KeyboardInterrupt

    with mock.patch.object(shop.warehouse, point, side_effect=die), pytest.raises(KeyboardInterrupt):
        shop.run(project="p1")
    assert good not in published(shop)
    assert shop.marts(SHOWN) == [(2, 11, 1 if point == "restore" else 2)]
    assert refused(ran(shop)) == ["shop.orders"]
    assert (good in published(shop), bad in published(shop)) == (True, False)
    assert shop.marts(SHOWN) == [(2, 11, 2)]
