"""`python -m beam_job raise-epoch`: it says what it did and what comes next, and refuses a job that does not exist."""

from collections.abc import Callable
from pathlib import Path

import pytest

from beam_job.__main__ import main
from millrace.lake.store import Lake
from tests.support.merging import Merging, upsert

SOURCE = """
source: shop
connector: {image: i, version: '1'}
streams:
  orders:
    mode: cdc
    key: [id]
    order: [_ab_cdc_lsn]
    columns: {id: {type: int64, nullable: false}, name: {type: string}, amount: {type: int64}}
"""
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs a command on a stream whose log started over at job 2."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "shop.yaml").write_text(SOURCE)
    merging = Merging(lake, tmp_path)
    for name, lsn in (("old", 500), ("new", 5)):
        merging.land(rows=[upsert(1, lsn, name)])
    merging.merge()
    merging.warehouse.close()
    places = ["--sources", str(tmp_path / "sources"), "--lake-url", lake.url, "--lake-endpoint", lake.endpoint]
    places += ["--warehouse-url", merging.warehouse.url, "--marts-url", merging.warehouse.marts_url]

    def run(command: str, *options: str) -> tuple[int, str, str]:
        argv = ["beam_job", command, "--source", "shop", "--stream", "orders", *places, *options]
        monkeypatch.setattr("sys.argv", argv)
        code = main()
        return code, *capsys.readouterr()

    return run


def test_command_raises_once_and_names_the_next(call: Call) -> None:
    assert call("raise-epoch", "--from-job", "2")[:2] == (
        0,
        "shop.orders: 1 syncs from job 2 on have a higher epoch now (1); 1 merged objects are pending again\n"
        "next: millrace merge shop.orders\n",
    )
    again = call("raise-epoch", "--from-job", "2")
    assert again[:2] == (0, "shop.orders: nothing was to do: all jobs before 2 are below its epoch 1\n")
    assert call("merge")[1] == "shop.orders: 1 rows in = 1 merged + 0 superseded + 0 stale + 0 quarantined\n"


def test_command_refuses_an_unknown_job(call: Call) -> None:
    code, out, err = call("raise-epoch", "--from-job", "3")
    assert (code, out) == (1, "")
    assert err.startswith("EventRefused: shop.orders: no manifest in the lake is of job 3; `millrace lake ls")
