"""A ledger without partitions, as an older version created it in BigQuery, gets them whoever dies meanwhile."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest

from millrace.domain.ledger import EVER
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.bigquery.ledger_layout import OLDER, LedgerLayout, Step
from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse
from tests.support.bigquery import BigQuery, namespace_of
from tests.support.ledgers import fact
from tests.support.merging import NOON, contract

pytestmark = pytest.mark.bigquery
STEPS = 3
FACTS = [fact("merged", f"b{day}", NOON - timedelta(days=day), stream="orders") for day in range(3)]


class Died(BaseException):
    """The process ended here."""


@pytest.fixture
def older(bigquery: BigQuery) -> Iterator[tuple[Any, BigQueryWarehouse]]:
    """A client, and a warehouse whose ledger has no partitions."""
    with bigquery.prefix() as prefix:
        warehouse, client = bigquery.warehouse(prefix), bigquery.client()
        warehouse.append(*FACTS)
        ledger = namespace_of(warehouse).ops("ledger")
        client.query(f"CREATE TABLE `{prefix}_ops`.kept AS SELECT * FROM {ledger} WHERE `at` > '0001-01-01'").result()
        client.query(f"DROP TABLE {ledger}").result()
        columns = f"({sql.LEDGER_SCHEMA}) CLUSTER BY kind, batch_id"
        client.query(f"CREATE TABLE {ledger} {columns} AS SELECT * FROM `{prefix}_ops`.kept").result()
        yield client, warehouse
        warehouse.close()
        client.close()


def tables(client: Any, warehouse: BigQueryWarehouse) -> dict[str, Any]:
    """The ledger's tables, by name."""
    namespace = namespace_of(warehouse)
    listed = client.list_tables(f"{namespace.project}.{namespace.dataset('ops')}")
    return {t.table_id: client.get_table(t.reference) for t in listed if t.table_id.startswith("ledger")}


def check(client: Any, warehouse: BigQueryWarehouse, facts: list[Any]) -> None:
    """The ledger has a partition per day and all facts; the older table ends by itself."""
    after = tables(client, warehouse)
    assert sorted(after) == ["ledger", "ledger_objects", OLDER]
    ledger = after["ledger"]
    assert (ledger.time_partitioning.type_, ledger.time_partitioning.field) == ("DAY", "at")
    assert ledger.clustering_fields == ["source", "stream", "kind"]
    assert ledger.require_partition_filter
    assert after[OLDER].expires is not None
    assert sorted(warehouse.ledger(EVER), key=lambda e: e.batch_id) == sorted(facts, key=lambda e: e.batch_id)


def test_older_ledger_gets_a_partition_per_day(older: tuple[Any, BigQueryWarehouse]) -> None:
    client, warehouse = older
    assert warehouse.unpublished() == FACTS, "it is searched as it is"
    warehouse.ensure(contract())
    check(client, warehouse, FACTS)
    before = tables(client, warehouse)["ledger"].created
    warehouse.ensure(contract(stream="items"))
    LedgerLayout(warehouse._jobs).ensure()
    assert tables(client, warehouse)["ledger"].created == before


@pytest.mark.parametrize("died_after", range(STEPS))
def test_a_death_meanwhile_loses_no_fact(
    older: tuple[Any, BigQueryWarehouse], died_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, warehouse = older
    late = fact("merged", "late", NOON, stream="items")
    run, steps = LedgerLayout._run, 0

    def die(layout: LedgerLayout, step: Step) -> None:
        nonlocal steps
        run(layout, step)
        if steps == 0:
            warehouse.append(late)  # another process writes to the table that was just copied
        if steps == died_after:
            raise Died
        steps += 1

    monkeypatch.setattr(LedgerLayout, "_run", die)
    with pytest.raises(Died):
        LedgerLayout(warehouse._jobs).ensure()
    monkeypatch.setattr(LedgerLayout, "_run", run)
    LedgerLayout(warehouse._jobs).ensure()
    check(client, warehouse, [*FACTS, late])


def test_query_without_a_day_is_rejected(bigquery: BigQuery) -> None:
    with bigquery.prefix() as prefix:
        warehouse, client = bigquery.warehouse(prefix), bigquery.client()
        warehouse.append(*FACTS)
        with pytest.raises(BadRequest, match="without a filter over column"):
            client.query(f"SELECT COUNT(*) FROM {namespace_of(warehouse).ops('ledger')}").result()
        assert warehouse.ledger(NOON) == FACTS[:1]
