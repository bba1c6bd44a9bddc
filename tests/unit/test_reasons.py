"""Reasons of the quarantine: they name the value, shortened, and what to do about it."""

import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from beam_job.steps.reasons import ADVICE, QuarantinedRows, value_texts, with_advice
from millrace.domain.batch import QuarantinedRow
from tests.support.merging import contract
from tests.support.servers import ROOT


def test_first_reason_of_a_row_is_kept() -> None:
    quarantined = QuarantinedRows()
    quarantined.add(np.array([False, True, False]), "row.type", "amount")
    quarantined.add(np.array([True, True, False]), "key.null", "id")
    assert quarantined.reasons == {0: ("key.null", "id"), 1: ("row.type", "amount")}
    quarantined.add(np.array([True]), "row.type", "amount", 7)
    assert quarantined.reasons[7] == ("row.type", "amount")


def test_each_reason_has_the_value_of_its_row() -> None:
    quarantined = QuarantinedRows()
    values = pa.array(["1", "x {value}", None, "y"])
    quarantined.add(np.array([False, True, False, True]), "row.order", "lsn is {value}", 10, values)
    assert quarantined.reasons == {11: ("row.order", 'lsn is "x {value}"'), 13: ("row.order", 'lsn is "y"')}


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.5, pa.float64(), "0.5"),
        (float("nan"), pa.float64(), "nan"),
        (Decimal("1.50"), pa.decimal128(5, 2), "1.50"),
        (date(2026, 1, 2), pa.date32(), '"2026-01-02"'),
        (3_000_000, pa.date32(), '"+10183-09-21"'),
        (timedelta(seconds=1), pa.duration("s"), '"PT1S"'),
        ("two\nlines\x00", pa.string(), '"two\\nlines\\u0000"'),
        ("x" * 10_000, pa.string(), f'"{"x" * 59}…'),
        (b"\xff" * 10_000, pa.binary(), f'"{"/" * 59}…'),
        (["a"], pa.list_(pa.string()), '["a"]'),
        (None, pa.int64(), "null"),
    ],
)
def test_value_is_one_short_text(value: Any, kind: pa.DataType, text: str) -> None:
    column = pa.array([value], pa.int32()).view(kind) if kind == pa.date32() and isinstance(value, int) else None
    assert value_texts(pa.array([value], kind) if column is None else column) == [text]


@pytest.mark.parametrize(
    ("reason", "row", "advice"),
    [
        ("row.type", 3, "correct the row at the source, or correct sources/shop.yaml, then run `millrace redrive"),
        ("file.type", None, "correct sources/shop.yaml or write the object again, then run `millrace redrive"),
        ("file.unreadable", None, "write the object again, then run `millrace redrive"),
        ("generation.incomplete", None, "sync again"),
    ],
)
def test_advice_has_contract_and_command(reason: str, row: int | None, advice: str) -> None:
    record = QuarantinedRow(reason=reason, object="raw/0.parquet", generation=1, row=row, detail="it is wrong")
    end = "" if advice == "sync again" else " shop.orders`"
    assert with_advice(record, contract()).detail == f"it is wrong; {advice}{end}"


def test_every_reason_of_a_file_has_advice() -> None:
    runbook = (ROOT / "docs/operations/alerts.md").read_text()
    documented = set(re.findall(r"`(file\.\w+|manifest\.broken|generation\.incomplete)`", runbook))
    assert documented == set(ADVICE)
