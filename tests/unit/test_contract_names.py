"""Names in contracts: those that would meet in a warehouse are refused when the contract is loaded."""

from collections.abc import Callable

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from millrace.contracts.source import parse_source
from millrace.domain import names
from millrace.domain.column_names import PLATFORM_COLUMNS
from millrace.domain.errors import ContractError
from tests.unit.test_contracts import SHOP, changed


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("source", "the__shop", "source: .*'the__shop' has `__` or ends with `_`.*same table"),
        ("source", "shop_", "source: .*'shop_' has `__` or ends with `_`.*same table"),
        ("streams.orders.source", "store", "file: .*stream 'orders' calls itself 'store.orders'"),
        ("streams.orders.columns._batch_id", {"type": "string"}, r"orders: .*'_batch_id' .*keeps.*'_batch_id_\w{6}'"),
        ("streams.orders.columns._Object", {"type": "string"}, "streams.orders: .*column '_Object' .*keeps for itself"),
        ("streams.orders.columns._PARTITIONDATE", {"type": "date"}, "streams.orders: .*'_PARTITIONDATE' .*keeps"),
        ("streams.orders.columns._Airbyte_Meta", {"type": "json"}, "streams.orders: .*'_Airbyte_Meta' .*keeps"),
        ("streams.orders.columns.Price", {"type": "int64"}, "orders: .*'Price' and 'price' differ only by case"),
        ("streams.orders.key", ["id", "id"], "streams.orders: .*key names 'id' twice"),
        ("streams.orders.order", ["_ab_cdc_lsn"] * 2, "streams.orders: .*order names '_ab_cdc_lsn' twice"),
        ("streams.orders.cluster", ["id", "id"], "streams.orders: .*cluster names 'id' twice"),
        ("streams.orders_live", SHOP["streams"]["orders"], "stream 'orders_live' has the name .* of stream 'orders'"),
        ("streams.orders__migrating", SHOP["streams"]["orders"], "'orders__migrating' has the name .* 'orders'"),
    ],
)
def test_names_that_meet_are_refused_by_name(path: str, value: object, where: str) -> None:
    with pytest.raises(ContractError, match=f"(?s)^shop.yaml: .*{where}"):
        parse_source(changed(path, value), "shop.yaml")


@pytest.mark.parametrize("name", sorted(PLATFORM_COLUMNS))
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_platform_columns_are_reserved(name: str, case: Callable[[str], str]) -> None:
    with pytest.raises(ContractError, match=f"^shop.yaml: streams.orders: .*column '{case(name)}' has a name"):
        parse_source(changed(f"streams.orders.columns.{case(name)}", {"type": "string"}), "shop.yaml")


def test_column_with_leading_underscore_is_allowed() -> None:
    for name in ("__v", "_class", "_dlt_id", "_id", "_ab_source_file_url", "rowid"):
        parse_source(changed(f"streams.orders.columns.{name}", {"type": "string"}), "shop.yaml")


def test_field_given_twice_is_refused() -> None:
    text = yaml.safe_dump(SHOP).replace("      id:", "      id: {type: string}\n      id:")
    with pytest.raises(ContractError, match=r"(?s)^shop.yaml: .*'id' is there twice.*line \d+"):
        parse_source(text, "shop.yaml")


def is_accepted(source: str, stream: str) -> bool:
    data = SHOP | {"source": source, "streams": {stream: SHOP["streams"]["orders"]}}
    try:
        parse_source(yaml.safe_dump(data), f"{source}.yaml")
    except ContractError:
        return False
    return True


@given(head=st.lists(st.sampled_from(["a", "b", "_", "__"]), max_size=6).map(lambda parts: "a" + "".join(parts) + "b"))
@example(head="a__b__c")
def test_streams_never_share_a_head(head: str) -> None:
    pairs = [(head[:i], head[i + 2 :]) for i in range(len(head)) if head[i : i + 2] == "__"]
    accepted = [pair for pair in pairs if is_accepted(*pair)]
    assert len(accepted) <= 1
    assert {names.head_table(*pair) for pair in pairs} <= {f"head__{head}"}
