"""What is asked to be erased: keys of the stream, each value as both engines read it back."""

from typing import Any

import pytest

from millrace.contracts.erasure import asked
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
    (key,) = asked(keyed(*TYPES), [KEY], "r", NOON).keys
    assert key == ("7", "2026-01-02", "2026-01-02 02:04:05+00:00", "1.5", "00ff", "true", "it's")


def test_the_same_keys_are_the_same_request_in_whatever_order_they_come() -> None:
    one, other = (
        asked(keyed("id"), [{"id": 7}, {"id": "8"}], "r", NOON),
        asked(keyed("id"), [{"id": 8}, {"id": 7}, {"id": 7}], "s", NOON),
    )
    assert one.id == other.id
    assert one.id != asked(keyed("id"), [{"id": 7}], "r", NOON).id
    assert one.id.startswith("shop-orders-erase-")


@pytest.mark.parametrize(
    ("keys", "reason", "says"),
    [
        ([{"id": "x"}], "r", "id = 'x' is no int64"),
        ([{"id": 1, "name": "a"}], "r", "is no key; give id"),
        ([{}], "r", "is no key; give id"),
        ([], "r", "name at least one key to erase"),
        ([{"id": 1}], " ", "and the reason why"),
    ],
)
def test_what_is_no_key_is_refused(keys: list[dict[str, Any]], reason: str, says: str) -> None:
    with pytest.raises(EventRefused, match=says):
        asked(keyed("id"), keys, reason, NOON)


def test_an_instant_needs_its_zone_and_a_stream_a_key() -> None:
    with pytest.raises(EventRefused, match="at = '2026-01-02T03:04:05' is no timestamp"):
        asked(keyed("at"), [{"at": "2026-01-02T03:04:05"}], "r", NOON)
    with pytest.raises(EventRefused, match=r"shop\.orders has no key by which rows could be erased"):
        asked(contract(mode="append", key="position", order=[]), [{"id": 1}], "r", NOON)
