"""Order columns in; how their values sort, or the error of a text column without a meaning, out."""

from collections.abc import Mapping, Sequence
from typing import Literal

OrderKind = Literal["instant", "integer", "lsn", "binlog", "text"]

CDC_COLUMNS = {
    "_ab_cdc_lsn": "int64",
    "_ab_cdc_cursor": "int64",
    "_ab_cdc_log_pos": "int64",
    "_ab_cdc_log_file": "string",
    "_ab_cdc_event_serial_no": "string",
    "_ab_cdc_updated_at": "string",
    "_ab_cdc_deleted_at": "string",
}
# What the text of Airbyte's log columns means: https://docs.airbyte.com/understanding-airbyte/cdc
KNOWN: dict[str, OrderKind] = {
    "_ab_cdc_lsn": "lsn",
    "_ab_cdc_log_file": "binlog",
    "_ab_cdc_event_serial_no": "integer",
    "_ab_cdc_updated_at": "instant",
    "_ab_cdc_deleted_at": "instant",
}


def order_kind(name: str, kind: str, chosen: Mapping[str, OrderKind]) -> str:
    """Return how an order column of a contract type sorts: as its type, or as the meaning of its text."""
    return chosen.get(name) or KNOWN.get(name) or "" if kind == "string" else kind


def check_order(order: Sequence[str], types: Mapping[str, str], chosen: Mapping[str, OrderKind]) -> None:
    """Require a meaning for the text of each order column, as `"9"` sorts above `"10"`, and `…00Z` above `…00.5Z`.

    Raises:
        ValueError: a text column has no meaning, or a meaning belongs to no text column of `order`.
    """
    for name in chosen:
        if name not in order or types[name] != "string":
            raise ValueError(f"order_as names {name!r}, which is not a text column of `order`")
    for name in order:
        if not order_kind(name, types[name], chosen):
            raise ValueError(
                f"order column {name!r} is text; say what it means, so that it sorts as that:"
                f" `order_as: {{{name}: instant}}`, or integer, lsn, binlog, or text for its bytes"
            )
