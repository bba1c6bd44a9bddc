"""Contracts in; suites of expectations on merged rows out."""

from typing import Any

import yaml

from millrace.contracts.stream import StreamContract
from millrace.domain.quality import STOP, Expected


def raw_suite(stream: StreamContract) -> str | None:
    """Return a stream's suite as YAML: expectations from key and columns, then the contract's own; None without any."""
    expectations = [*_implied(stream), *(_plain(expected) for expected in stream.expectations)]
    if not expectations:
        return None
    return yaml.safe_dump(
        {"stream": stream.id, "expectations": expectations}, sort_keys=False, width=120, allow_unicode=True
    )


def _implied(stream: StreamContract) -> list[dict[str, Any]]:
    """Return the expectations that keys are unique, and that columns declared so are never null."""
    severity = {"severity": STOP}
    expectations = [
        {"type": "expect_column_values_to_not_be_null", **severity, "args": {"column": name}}
        for name, column in stream.columns.items()
        if not column.nullable
    ]
    if len(stream.key) == 1:
        expectations.append(
            {"type": "expect_column_values_to_be_unique", **severity, "args": {"column": stream.key[0]}}
        )
    elif stream.key:
        columns = list(stream.key)
        expectations.append(
            {"type": "expect_compound_columns_to_be_unique", **severity, "args": {"column_list": columns}}
        )
    return expectations


def _plain(expected: Expected) -> dict[str, Any]:
    return expected.model_dump(mode="json")
