"""Syncs of tests/data/ingest that depend on each other, merged one by one and at once: the live rows are the same."""

from typing import Any

import pytest

from beam_job.raise_epoch import raise_epoch
from millrace.contracts.stream import StreamContract
from tests.support.in_process import InProcess
from tests.support.merging import NOON, contract
from tests.support.servers import ROOT

FOLDER = ROOT / "tests" / "data" / "ingest"
ID = {"id": {"type": "int64", "nullable": False}}
Rows = list[tuple[Any, ...]]


def stream(order: list[str], *texts: str) -> StreamContract:
    mode = "cdc" if order else "append"
    return contract(mode=mode, order=order, columns=ID | {name: {"type": "string"} for name in texts})


# By files: the contract, and the live rows after the last of them.
SYNCS: dict[tuple[str, ...], tuple[StreamContract, Rows]] = {
    ("01-rowid-1.parquet", "01-rowid-2.parquet"): (
        stream([], "RowId", "v"),
        [(1, "x", "A"), (2, "x", "b"), (3, "y", "c")],
    ),
    ("08-updated-at-instants.parquet",): (stream(["_ab_cdc_updated_at"], "name"), [(1, "second"), (2, "second")]),
    ("09-toast-1.parquet", "09-toast-2.parquet"): (
        stream(["_ab_cdc_lsn"], "name", "bio"),
        [(1, "b", "long text")],
    ),
    ("10-refresh-1.parquet", "10-refresh-2.parquet"): (stream(["_ab_cdc_lsn"], "name"), [(1, "a2")]),
}


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
@pytest.mark.parametrize("files", SYNCS, ids=lambda files: files[0])
def test_live_rows_are_those_of_the_source(files: tuple[str, ...], at_once: bool) -> None:
    declared, expected = SYNCS[files]
    merging = InProcess(declared)
    for file in files:
        merging.land(merging.put((FOLDER / file).read_bytes()))
        if not at_once:
            merging.merge()
    merging.merge()
    shown = ", ".join(f'"{name}"' for name in declared.columns)
    assert merging.query(f"SELECT {shown} FROM raw_shop.orders_live ORDER BY id") == expected
    assert merging.query("SELECT count(*) FROM ops.quarantine") == [(0,)]


def test_stream_that_started_over_is_told_and_repaired(caplog: pytest.LogCaptureFixture) -> None:
    merging = InProcess(stream(["_ab_cdc_lsn"], "name"))
    for file in ("11-generation-7.parquet", "11-generation-1.parquet"):
        merging.land(merging.put((FOLDER / file).read_bytes()))
        merging.merge()
    (told,) = [r.getMessage() for r in caplog.records if "raise-epoch" in r.getMessage()]
    assert "run `millrace raise-epoch shop.orders --from-job 2`" in told
    raise_epoch(merging.lake, merging.warehouse, merging.contract, from_job=2, run_id="r", at=NOON)
    merging.merge()
    assert merging.live() == {1: "new"}
