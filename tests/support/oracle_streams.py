"""The streams whose merges are compared with the model, by name; those of hard values draw their own contracts."""

import math
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from millrace.contracts.stream import StreamContract
from tests.support.hard_values import HARD, KEY_TYPES, some_of
from tests.support.oracle import EARLY, INSTANTS, Stream


def declare(mode: str, key: dict[str, str], order: dict[str, str], *texts: str, **options: Any) -> StreamContract:
    """Return a contract `shop.orders` with these keys and order columns, `note` and `amount`, and columns of text."""
    own = {n: {"type": t} for n, t in order.items() if not n.startswith("_ab_cdc")}
    fields: dict[str, Any] = {
        "source": "shop",
        "stream": "orders",
        "mode": mode,
        "key": list(key) or "position",
        "order": list(order),
        "columns": {n: {"type": t, "nullable": False} for n, t in key.items()}
        | own
        | {"note": {"type": "int64"}, "amount": {"type": "int64"}}
        | {name: {"type": "string"} for name in texts},
        "refresh": "retain" if mode == "cdc" else None,
    }
    return StreamContract.model_validate(fields | options)


@st.composite
def of_hard_values(draw: st.DrawFn, mode: str, log: dict[str, str]) -> Stream:
    """Generate streams of one to three key columns and up to two cursors after `log`, with a few hard values each."""
    keys = draw(st.lists(st.sampled_from(KEY_TYPES), min_size=1, max_size=3))
    cursors = draw(st.lists(st.sampled_from(list(HARD)), min_size=not log, max_size=2))
    order = log | {f"c{number}": kind for number, kind in enumerate(cursors)}
    meant = {name: "text" for name, kind in order.items() if kind == "string"}
    contract = declare(mode, {f"k{n}": kind for n, kind in enumerate(keys)}, order, order_as=meant)
    key_values = [st.sampled_from(draw(some_of(kind))) for kind in keys]
    cursor_values = [st.none() | st.sampled_from(draw(some_of(kind))) for kind in order.values()]
    return Stream(contract, st.tuples(*key_values), st.tuples(*cursor_values))


LSN = st.integers(1, 4)
TEXT = st.sampled_from(["", "a", "a\x00", "é"])
FIXED = {
    "changes by id": Stream(
        declare("cdc", {"id": "int64"}, {"_ab_cdc_lsn": "int64"}), st.tuples(st.integers(-1, 1)), st.tuples(LSN)
    ),
    "changes by two keys and two log columns": Stream(
        declare(
            "cdc",
            {"id": "int64", "region": "string"},
            {"_ab_cdc_lsn": "int64", "_ab_cdc_updated_at": "string"},
            order_as={"_ab_cdc_updated_at": "text"},
        ),
        st.tuples(st.integers(0, 1), st.sampled_from(["", "x"])),
        st.tuples(st.integers(1, 2), st.none() | TEXT),
    ),
    "refreshes": Stream(
        declare("cdc", {"id": "int64"}, {"_ab_cdc_lsn": "int64"}, refresh="remove"),
        st.tuples(st.integers(0, 2)),
        st.tuples(LSN),
    ),
    "unchanged values": Stream(
        declare("cdc", {"id": "int64"}, {"_ab_cdc_lsn": "int64"}, "bio"), st.tuples(st.integers(0, 1)), st.tuples(LSN)
    ),
    "instants as text": Stream(
        declare("cdc", {"id": "int64"}, {"_ab_cdc_updated_at": "string"}),
        st.tuples(st.integers(0, 1)),
        st.tuples(st.none() | st.sampled_from(INSTANTS)),
    ),
    "deletes ignored": Stream(
        declare("cdc", {"id": "int64"}, {"_ab_cdc_lsn": "int64"}, deletes="ignore"),
        st.tuples(st.integers(0, 2)),
        st.tuples(LSN),
    ),
    "cursor that may be null": Stream(
        declare("append", {"code": "string"}, {"at": "timestamp"}),
        st.tuples(TEXT),
        st.tuples(st.none() | st.integers(0, 2).map(lambda s: EARLY + timedelta(microseconds=s))),
    ),
    "decimal key, float cursor": Stream(
        declare("append", {"day": "date", "price": "decimal(10,2)"}, {"rate": "float64"}),
        st.tuples(st.just(date(2026, 1, 1)), st.sampled_from([Decimal("1.00"), Decimal("-1.01")])),
        st.tuples(st.none() | st.sampled_from([-math.inf, *[-0.0, 0.0] * 3, math.nan])),
    ),
    "types widened": Stream(
        declare("append", {"id": "int64"}, {"at": "int64"}, evolution={"type_changes": "widen"}),
        st.tuples(st.integers(0, 2)),
        st.tuples(st.integers(0, 2)),
    ),
    "snapshots": Stream(declare("overwrite", {"id": "int64"}, {}), st.tuples(st.integers(0, 3)), st.just(())),
    "snapshots without a key": Stream(declare("overwrite", {}, {}), st.just(()), st.just(())),
    "no key": Stream(declare("append", {}, {}), st.just(()), st.just(())),
}
STREAMS: dict[str, st.SearchStrategy[Stream]] = {name: st.just(stream) for name, stream in FIXED.items()} | {
    "changes of hard values": of_hard_values("cdc", {"_ab_cdc_lsn": "int64"}),
    "rows of hard values": of_hard_values("append", {}),
    "snapshots of hard values": of_hard_values("overwrite", {}),
}
