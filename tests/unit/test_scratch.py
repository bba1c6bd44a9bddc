"""The rows up to which a merge runs on one machine fit the disk that its pod gets."""

import re
import tomllib
from pathlib import Path

import pyarrow as pa
import pytest

from beam_job.batches import Limits, open_batch
from beam_job.engines import plain
from beam_job.steps.spill import park
from beam_job.steps.work import Work
from tests.support.in_process import InProcess
from tests.support.merging import NOON, contract, upsert
from tests.support.servers import ROOT

ROWS = 20_000
LONGEST_KEY = 100  # bytes of text that the limits leave room for


def disk_of_a_row(monkeypatch: pytest.MonkeyPatch) -> float:
    """Merge rows by the plain engine; return the bytes that it keeps on disk for each."""
    sizes: list[int] = []

    def measured(table: pa.Table, into: str) -> bytes:
        parcel = park(table, into)
        sizes.append(Path(parcel.decode()).stat().st_size)
        return parcel

    monkeypatch.setattr(plain, "park", measured)
    merging = InProcess(contract())
    merging.land(rows=[upsert(number, 1) for number in range(ROWS)])
    batch = open_batch(merging.lake, merging.warehouse, merging.contract, limits=Limits(), now=NOON)
    assert batch is not None
    plain.run_steps(Work(merging.lake, merging.contract, batch, "attempt"), 1, {})
    return sum(sizes) / ROWS


def test_limit_of_rows_fits_the_disk_of_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    beam = tomllib.loads((ROOT / "config" / "gcp.toml").read_text())["beam"]
    scratch = re.search(r"scratch: {.*default: (\d+)Gi", (ROOT / "k8s" / "pools" / "gke.yaml").read_text())
    assert scratch
    row = disk_of_a_row(monkeypatch)
    assert 60 < row <= 127
    for engine in ("plain", "in_process"):
        needed = beam[f"{engine}_max_rows"] * (row + LONGEST_KEY) + beam[f"{engine}_max_bytes"]
        assert needed < int(scratch[1]) << 30, engine
