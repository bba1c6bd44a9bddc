"""Requests for erasure: keys of the stream, each value in the form that both engines read back."""

from typing import Any

import pytest

from millrace.contracts.erasure import make_erasure
from millrace.contracts.stream import StreamContract
from millrace.domain.errors import EventRefused
from tests.support.merging import NOON, contract

TYPES = {
    "id": "int64",
    "day": "date",
    "at": "timestamp",
    "price": "decimal(9,2)",
    "blob": "bytes",
    "on": "bool",
    "name": "string",
}
KEY = {
    "id": 7,
    "day": "2026-01-02",
    "at": "2026-01-02T03:04:05+01:00",
    "price": "1.50",
    "blob": "00FF",
    "on": True,
    "name": "it's",
}


def keyed(*key: str) -> StreamContract:
    return contract(key=key, columns={n: {"type": t, "nullable": n not in key} for n, t in TYPES.items()})


def test_values_of_all_types_become_text() -> None:
    (key,) = make_erasure(keyed(*TYPES), [KEY], "r", NOON).keys
    assert key == ("7", "2026-01-02", "2026-01-02 02:04:05+00:00", "1.5", "00ff", "true", "it's")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("9" * 29, "9" * 29),
        ("1" * 38, "1" * 38),
        (f"0.{'3' * 38}", f"0.{'3' * 38}"),
        ("1.500", "1.5"),
        ("100", "100"),
        ("1E+2", "100"),
        ("-0.00", "0"),
        (-2, "-2"),
    ],
)
def test_decimal_keeps_all_of_its_digits(value: Any, text: str) -> None:
    stream = contract(key=["price"], columns={"price": {"type": "decimal(38,0)", "nullable": False}})
    assert make_erasure(stream, [{"price": value}], "r", NOON).keys == ((text,),)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999999999", "x"])
def test_decimal_without_digits_is_refused(value: str) -> None:
    stream = contract(key=["price"], columns={"price": {"type": "decimal(38,0)", "nullable": False}})
    with pytest.raises(EventRefused, match=r"price = .* is not a valid decimal\(38,0\)"):
        make_erasure(stream, [{"price": value}], "r", NOON)


def test_request_id_ignores_the_order_of_keys() -> None:
    first, second = (
        make_erasure(keyed("id"), [{"id": 7}, {"id": "8"}], "r", NOON),
        make_erasure(keyed("id"), [{"id": 8}, {"id": 7}, {"id": 7}], "s", NOON),
    )
    assert first.id == second.id
    assert first.id != make_erasure(keyed("id"), [{"id": 7}], "r", NOON).id
    assert first.id.startswith("shop-orders-erase-")


@pytest.mark.parametrize(
    ("keys", "reason", "says"),
    [
        ([{"id": "x"}], "r", "id = 'x' is not a valid int64"),
        ([{"id": 1, "name": "a"}], "r", "is not a valid key; expected columns id"),
        ([{}], "r", "is not a valid key; expected columns id"),
        ([], "r", "name at least one key to erase"),
        ([{"id": 1}], " ", "and a reason"),
    ],
)
def test_invalid_key_is_rejected(keys: list[dict[str, Any]], reason: str, says: str) -> None:
    with pytest.raises(EventRefused, match=says):
        make_erasure(keyed("id"), keys, reason, NOON)


def test_instant_needs_a_zone_and_stream_a_key() -> None:
    with pytest.raises(EventRefused, match="at = '2026-01-02T03:04:05' is not a valid timestamp"):
        make_erasure(keyed("at"), [{"at": "2026-01-02T03:04:05"}], "r", NOON)
    with pytest.raises(EventRefused, match=r"shop\.orders has no key by which rows could be erased"):
        make_erasure(contract(mode="append", key="position", order=[]), [{"id": 1}], "r", NOON)
