"""The lease of a stream's merges: one holder at a time, be it a flow run or a command."""

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from beam_job.batches import Limits
from beam_job.lease import merge_lease
from beam_job.merge import merge_stream
from millrace.domain import names
from millrace.domain.batch import Balance
from millrace.domain.errors import StreamBusy
from millrace.lake.store import Lake
from tests.support.in_process import InProcess, MemoryLake
from tests.support.merging import NOON, Merging, contract, upsert
from tests.support.servers import ROOT, wait_until

PATH = names.merge_lease_path("shop", "orders")


def test_second_holder_is_rejected_with_the_owner() -> None:
    lake = MemoryLake()
    with merge_lease(lake, "shop", "orders", "flow run r1"):
        with merge_lease(lake, "shop", "refunds", "process 2"):
            pass
        with (
            pytest.raises(StreamBusy, match=r"shop.orders is merged by flow run r1 until \d\d:\d\d:\d\d UTC or longer"),
            merge_lease(lake, "shop", "orders", "process 2"),
        ):
            pass
    with merge_lease(lake, "shop", "orders", "process 2"):
        assert lake.stat(PATH)
    assert lake.stat(PATH) is None


def test_waiter_gets_the_released_lease() -> None:
    lake, sentences, first_done = MemoryLake(), list[str](), threading.Event()

    def hold_first() -> None:
        with merge_lease(lake, "shop", "orders", "first"):
            wait_until(lambda: sentences, "the second waits")
            first_done.set()

    holding = threading.Thread(target=hold_first)
    holding.start()
    wait_until(lambda: lake.stat(PATH), "the first holds the lease")
    with merge_lease(lake, "shop", "orders", "second", wait_s=30, on_wait=sentences.append):
        assert first_done.is_set()
    holding.join()
    (sentence,) = sentences
    assert sentence.startswith("shop.orders is merged by first until ")
    assert sentence.endswith("; waiting up to 30 s")


@pytest.mark.parametrize(
    "body", [b'{"holder": "dead", "until": "2026-01-01T12:00:00+00:00"}', b"not a lease", b'{"until": 7}']
)
def test_expired_or_unreadable_lease_is_taken(body: bytes) -> None:
    lake = MemoryLake()
    lake.write(PATH, body)
    clock = [datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)]
    with merge_lease(lake, "shop", "orders", "next", clock=lambda: clock[0]):
        assert b'"holder": "next"' in lake.read(PATH)


def test_unexpired_lease_is_not_taken() -> None:
    lake, end = MemoryLake(), datetime(2026, 1, 1, 12, tzinfo=UTC)
    lake.write(PATH, b'{"holder": "other", "until": "2026-01-01T12:00:00+00:00"}')
    with (
        pytest.raises(StreamBusy, match="other until 12:00:00 UTC"),
        merge_lease(lake, "shop", "orders", "next", clock=lambda: end - timedelta(seconds=1)),
    ):
        pass


def test_lease_is_renewed_while_it_is_held() -> None:
    lake = MemoryLake()
    with merge_lease(lake, "shop", "orders", "long", seconds=0.6):
        first = lake.stat(PATH)
        assert first
        wait_until(lambda: (now := lake.stat(PATH)) and now.generation >= first.generation + 3, "it is renewed")
        with pytest.raises(StreamBusy), merge_lease(lake, "shop", "orders", "other"):
            pass
    assert lake.stat(PATH) is None


def test_holder_of_a_lost_lease_keeps_the_new_one() -> None:
    lake = MemoryLake()
    with merge_lease(lake, "shop", "orders", "slow"):
        lake.write(PATH, b"of another")
    assert lake.read(PATH) == b"of another"


def test_lost_lease_is_noticed_before_the_commit() -> None:
    merging = InProcess(contract())
    merging.land(rows=[upsert(1, 10)])
    with merge_lease(merging.lake, "shop", "orders", "paused") as lease:
        assert lease.is_held()

        def is_held() -> bool:
            merging.lake.write(PATH, b"of another")
            return lease.is_held()

        with pytest.raises(
            StreamBusy, match=r"shop\.orders: another process took over while batch shop-orders-\w+ was"
        ):
            merge(merging, is_held)
    assert merging.query("SELECT count(*) FROM ops.ledger") == [(0,)]
    assert [b.merged for b in merge(merging, lambda: True)] == [1]


def merge(merging: InProcess, is_held: Callable[[], bool]) -> list[Balance]:
    return merge_stream(
        merging.lake,
        merging.warehouse,
        None,
        merging.contract,
        limits=Limits(),
        run_id="test",
        clock=lambda: NOON,
        is_held=is_held,
    )


def test_lease_whose_renewal_was_unanswered_is_held() -> None:
    lake = MemoryLake()
    with merge_lease(lake, "shop", "orders", "slow network") as lease:
        lake.write(PATH, lake.read(PATH))
        assert lease.is_held()
    assert lake.stat(PATH) is None


@pytest.mark.slow
def test_command_waits_for_the_lease_then_merges(lake: Lake, tmp_path: Path) -> None:
    merging = Merging(lake, tmp_path)
    merging.land(rows=[upsert(1, 10)])
    (tmp_path / "shop.yaml").write_text(SOURCE)
    command = [
        sys.executable,
        "-m",
        "beam_job",
        "merge",
        "--source",
        "shop",
        "--stream",
        "orders",
        "--sources",
        str(tmp_path),
        "--lake-url",
        lake.url,
        "--lake-endpoint",
        lake.endpoint,
        "--warehouse-url",
        merging.warehouse.url,
        "--marts-url",
        merging.warehouse.marts_url,
    ]
    with merge_lease(lake, "shop", "orders", "flow run r1"):
        refused = subprocess.run([*command, "--wait-s", "0"], cwd=ROOT, capture_output=True, text=True, check=False)
        waiting = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert waiting.stderr
        assert "shop.orders is merged by flow run r1 until" in waiting.stderr.readline()
        assert waiting.poll() is None
    output, _ = waiting.communicate(timeout=60)
    assert refused.returncode == 1
    assert refused.stderr.startswith("StreamBusy: shop.orders is merged by flow run r1 until")
    assert (waiting.returncode, output) == (
        0,
        "shop.orders: 1 rows in = 1 merged + 0 superseded + 0 stale + 0 quarantined\n",
    )
    assert merging.live() == {1: "v10"}
    assert lake.stat(PATH) is None


SOURCE = """
source: shop
version: 1
connector: {image: shop, version: "1", config: {}}
streams:
  orders:
    mode: cdc
    key: [id]
    order: [_ab_cdc_lsn]
    columns:
      id: {type: int64, nullable: false}
      name: {type: string}
      amount: {type: int64}
"""
