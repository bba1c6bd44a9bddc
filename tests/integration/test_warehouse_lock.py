"""The lock of the warehouse's file: waiters, the name of its holder, and one state for all reads of a session."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import duckdb
import pytest

from millrace.domain.errors import WarehouseBusy
from millrace.domain.ledger import EVER, LedgerEntry
from millrace.lake.store import Lake
from millrace.warehouse.duckdb.lock import hold
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from tests.support.merging import NOON, Merging, upsert


@pytest.fixture
def merging(lake: Lake, tmp_path: Path) -> Merging:
    return Merging(lake, tmp_path)


def test_locked_warehouse_names_the_process(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 1)])
    merging.merge()
    busy = DuckDBWarehouse(merging.warehouse.url, merging.warehouse.marts_url, lock_timeout_s=0.2)
    with (
        hold(merging.folder / "warehouse.duckdb.lock", "commit of a test", 1),
        pytest.raises(WarehouseBusy, match=f"process {os.getpid()} .commit of a test"),
    ):
        busy.ledger(EVER)


def test_other_opener_is_awaited_and_named(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 1)])
    merging.merge()
    file = merging.folder / "warehouse.duckdb"
    code = f"import duckdb, sys; db = duckdb.connect({str(file)!r}); print('open', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    impatient = DuckDBWarehouse(merging.warehouse.url, merging.warehouse.marts_url, lock_timeout_s=0.2)
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as shell:  # type: ignore[call-overload]
        assert shell.stdout.readline() == b"open\n"
        with pytest.raises(WarehouseBusy, match=f"another program has open.*PID {shell.pid}"):
            impatient.ledger(EVER)
        closing = threading.Timer(0.5, shell.stdin.close)
        closing.start()
        assert [e.kind for e in merging.warehouse.ledger(EVER)] == ["merged"]  # it waits
        closing.join()


def test_session_isolates_reads_from_writers(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 1)])
    merging.merge()
    other = DuckDBWarehouse(merging.warehouse.url, merging.warehouse.marts_url, lock_timeout_s=0.2)
    entry = LedgerEntry(kind="announced", batch_id="b", source="shop", stream="orders", run_id="r", at=NOON)
    with merging.warehouse.session("a test"):
        assert merging.warehouse.head(merging.contract).epoch == 1
        with pytest.raises(WarehouseBusy, match="a test"):
            other.append(entry)
        assert [e.kind for e in merging.warehouse.ledger(EVER)] == ["merged"]
    other.append(entry)
    assert [e.kind for e in merging.warehouse.ledger(EVER)] == ["merged", "announced"]


def test_session_opens_the_file_once(merging: Merging) -> None:
    warehouse, opened = merging.warehouse, mock.Mock(wraps=duckdb.connect)
    with mock.patch("millrace.warehouse.duckdb.warehouse.duckdb.connect", opened):
        for _ in range(2):
            with warehouse.session("a test", merging.contract):
                assert warehouse.head(merging.contract).epoch == 0
                assert warehouse.count_doubled_keys(merging.contract) == 0
                assert warehouse.ledger(EVER) == []
        assert [call.kwargs["read_only"] for call in opened.call_args_list] == [False, True, True]
        opened.reset_mock()
        merging.land(rows=[upsert(1, 1)])
        merging.merge()
        assert [call.kwargs["read_only"] for call in opened.call_args_list] == [True, False, True]
