"""Suites of expectations on merged rows, made from the contracts."""

from typing import Any

import yaml

from millrace.contracts.stream import StreamContract
from millrace.domain.quality import STOP, Expected


def raw_suite(stream: StreamContract) -> str | None:
    """The suite of a stream as YAML: what the contract promises, then its own expectations; None without any."""
    made = [*_promised(stream), *(_plain(expected) for expected in stream.expectations)]
    if not made:
        return None
    return yaml.safe_dump({"stream": stream.id, "expectations": made}, sort_keys=False, width=120, allow_unicode=True)


def _promised(stream: StreamContract) -> list[dict[str, Any]]:
    """Keys are whole and each there once, and so are columns that are never null."""
    known = {"severity": STOP}
    made = [
        {"type": "expect_column_values_to_not_be_null", **known, "args": {"column": name}}
        for name, column in stream.columns.items()
        if not column.nullable
    ]
    if len(stream.key) == 1:
        made.append({"type": "expect_column_values_to_be_unique", **known, "args": {"column": stream.key[0]}})
    elif stream.key:
        columns = list(stream.key)
        made.append({"type": "expect_compound_columns_to_be_unique", **known, "args": {"column_list": columns}})
    return made


def _plain(expected: Expected) -> dict[str, Any]:
    return expected.model_dump(mode="json")
